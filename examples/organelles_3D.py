"""Train a 3D U-Net on the challenge's data:  csc train organelles_3D.py  (or: python organelles_3D.py).

Then:  csc predict organelles_3D.py;  csc process organelles_3D.py;  csc pack-results;  csc evaluate
`csc settings train` (predict, process) lists what else may stand here.
"""

# What to learn, at which voxel size (nm); all axes are z, y, x
classes = ("nuc", "er", "mito", "ld", "ecs", "pm")
input_array_info = {"shape": (128, 128, 128), "scale": (8, 8, 8)}

# The network and its training
model_name = "organelles_3d"
architecture = "3d_unet"
model_kwargs = {"trilinear": True}
epochs = 500
iterations_per_epoch = 500
batch_size = 4
learning_rate = 1e-4
criterion = "bce_dice"
max_grad_norm = 1.0
ema = 0.999
precision = "bf16-mixed"
num_workers = 8
use_mutual_exclusion = True

# What is done to samples: turned in every direction, a little larger or smaller, brighter or darker
spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
    "scale": {"axes": {"x": [0.9, 1.1], "y": [0.9, 1.1], "z": [0.9, 1.1]}},
}
intensity_transforms = {
    "gamma": {"probability": 0.3},
    "brightness": {"probability": 0.3},
    "gaussian_noise": {"probability": 0.2},
}

# From probabilities to masks and instances
threshold = {"nuc": 0.5, "mito": 0.6}
min_size_nm3 = {"mito": 1e6, "ld": 1e5}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
