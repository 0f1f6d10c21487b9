"""All classes that the challenge scores, in volumes, as the official toolbox's `train_3D.py` learns them.

    csc train train_3D.py   (or: python train_3D.py)

README.md beside this file says what to change in an experiment of the official toolbox.
"""

from csc_data.challenge import get_tested_classes

classes = get_tested_classes()
random_seed = 42

# What the network takes and gives: voxels (z, y, x) and their size in nm
input_array_info = {"shape": (128, 128, 128), "scale": (8, 8, 8)}
target_array_info = input_array_info

# The network; 3d_unet and 3d_resnet are the other ones of the official examples
model_name = "3d_vnet"
architecture = "vitnet"
model_kwargs = {"img_size": input_array_info["shape"]}
model_to_load = "3d_vnet"
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

spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.1}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
