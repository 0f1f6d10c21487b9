"""Objects that touch, each by itself, by affinities:  csc train instances_3D.py;  csc submit instances_3D.py

Beside where a class is, the network says of each voxel and some of its neighbours whether both are of one object.
`csc predict` writes that beside the class (mito_affinity_-1_0_0, ...), and the step mutex_watershed divides the class
by it. Affinities have a direction, so this goes without tta, and for planes without orthoplanes.
"""

classes = ("mito", "ld", "ves")
input_array_info = {"shape": (128, 128, 128), "scale": (8, 8, 8)}

# From a voxel to its partner, in voxels (z, y, x): neighbours hold objects together, those further away part them
offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-4, 0, 0], [0, -4, 0], [0, 0, -4]]
targets = {"output": "binary", "affinities": {"kind": "affinities", "offsets": offsets}}
criterion = {"output": "bce_dice", "affinities": "bce_dice"}

model_name = "instances"
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
}

# From probabilities to objects
divided = ["threshold", {"name": "mutex_watershed", "offsets": offsets}]
steps = {
    "mito": [*divided, {"name": "remove_small", "nm3": 1e6}],
    "ld": [*divided, {"name": "remove_small", "nm3": 1e5}],
    "ves": divided,
}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
