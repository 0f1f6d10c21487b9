"""Mitochondria, each as an object of its own, by a large MedNeXt at 4 nm, as PyTorch Connectomics' recipe has it.

csc train mednext_mito.py
csc predict mednext_mito.py
csc process mednext_mito.py   (thresholds, drops what is too small, and numbers the objects)
"""

classes = ["mito"]
resolution = 4  # nm
input_array_info = {"shape": (96, 96, 96), "scale": (resolution,) * 3}
filter_by_scale = True  # what is annotated at 8 nm has no fine borders

model_name = "mednext_mito"
architecture = "3d_mednext"
mednext_size = "L"
model_kwargs = {"kernel_size": 5}
deep_supervision = True
gradient_checkpointing = True

optimizer = "adamw"
learning_rate = 5e-4
optimizer_kwargs = {"weight_decay": 1e-5}
criterion = "bce_dice"
max_grad_norm = 1.0
batch_size = 1
gradient_accumulation_steps = 4
precision = "bf16-mixed"
epochs = 1000
early_stopping_patience = 50

best_metric = "dice"
save_top_k = 3

spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
}

# From probabilities to objects: those that touch are parted by a higher threshold
threshold = {"mito": 0.6}
min_size_nm3 = {"mito": 1e6}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
