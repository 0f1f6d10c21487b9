"""The organisers' baseline `setup_04_all`: the COSEM project's network, trained further for all classes.

Its weights, for 14 classes, are fetched when training begins (a gigabyte, once); the head for all scored classes is
new. An annotated voxel of a class counts as a 0 of the classes that exclude it (true-negative masking).

    csc train setup_04_all.py
"""

from csc_data.challenge import get_tested_classes

classes = get_tested_classes()
use_mutual_exclusion = True

pretrained = "cosem_setup04/1820500"
model_name = "setup_04_all"
raw_range = (-1.0, 1.0)  # as in the training of these weights
input_array_info = {"shape": (216, 216, 216), "scale": (8, 8, 8)}  # gives 68 voxels of 4 nm along each axis

criterion = "bce"
optimizer = "radam"
learning_rate = 1e-4
batch_size = 1
precision = "bf16-mixed"
gradient_checkpointing = True
validation_time_limit = 60  # seconds

spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
}
intensity_transforms = {"brightness": {}, "gaussian_noise": {}}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
