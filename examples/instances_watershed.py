"""Objects that touch, each by itself, by distance and watershed:  csc train instances_watershed.py, then csc submit

The network says how far it is to the surface of the class, above 0 inside. What lies deep inside are seeds, one an
object, and a watershed of what the network says gives each its part of the mask, so that necks become borders.
It needs no ids in the annotation, and works where objects are plump. Where they lie side by side over a large
face, instances_3D.py parts them by affinities, which ask for ids.
"""

classes = ("mito", "ld", "ves")
input_array_info = {"shape": (128, 128, 128), "scale": (8, 8, 8)}

targets = {"output": {"kind": "signed_distance", "scale_nm": 60}}  # tanh(distance / 60 nm)
criterion = "mse"

model_name = "instances_watershed"
architecture = "3d_unet"
model_kwargs = {"trilinear": True}
epochs = 500
iterations_per_epoch = 500
batch_size = 2
learning_rate = 3e-4
max_grad_norm = 1.0
ema = 0.999
precision = "bf16-mixed"

spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
}


def divided(seed_distance_nm, smallest_nm3):
    """Seeds lie deeper than a neck is thick, and less deep than the smallest object; the margin holds a whole one."""
    watershed = {"name": "watershed", "seed_distance_nm": seed_distance_nm, "on": "probability", "margin_nm": 400}
    return ["threshold", watershed, {"name": "remove_small", "nm3": smallest_nm3}]


# From distances to objects; csc tune tries other numbers on your validation crops
steps = {"mito": divided(70, 1e6), "ld": divided(50, 1e5), "ves": divided(12, 1e4)}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
