"""Nuclei and endoplasmic reticulum on planes, as the official toolbox's `train_2D.py` learns them.

    csc train train_2D.py   (or: python train_2D.py)

README.md beside this file says what to change in an experiment of the official toolbox.
"""

classes = ["nuc", "er"]
random_seed = 42

# What the network takes and gives: voxels (z, y, x) and their size in nm
input_array_info = {"shape": (1, 128, 128), "scale": (8, 8, 8)}
target_array_info = input_array_info

# The network; 2d_resnet is the other one of the official examples
model_name = "2d_unet"
model_to_load = "2d_unet"
load_model = "latest"

learning_rate = 1e-4
batch_size = 8
epochs = 1000
iterations_per_epoch = 1000
validation_time_limit = 60  # seconds

# Where things lie: relative paths are below base_experiment_path, the working folder by default
logs_save_path = "tensorboard/{model_name}"
model_save_path = "checkpoints/{model_name}_{epoch}.pth"
datasplit_path = "datasplit.csv"  # made if it is not there
filter_by_scale = True  # leave out what is annotated at coarser voxels than those above
# use_s3 = True  # learn from crops of the challenge's bucket, without fetching them

# Planes are turned within themselves, which is about z
spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5}},
    "transpose": {"axes": ["x", "y"]},
    "rotate": {"axes": {"z": [-180, 180]}},
}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
