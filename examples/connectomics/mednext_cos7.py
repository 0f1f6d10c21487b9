"""Five organelles of COS-7 cells by a MedNeXt, with the settings of PyTorch Connectomics' recipe of this name.

csc train mednext_cos7.py
"""

classes = ["nuc", "mito", "er", "golgi", "ves"]
datasets = ["jrc_cos7-1a", "jrc_cos7-1b"]
input_array_info = {"shape": (128, 128, 128), "scale": (8, 8, 8)}

model_name = "mednext_cos7"
architecture = "3d_mednext"
mednext_size = "M"
model_kwargs = {"kernel_size": 5}
deep_supervision = True

optimizer = "adamw"
learning_rate = 1e-3
optimizer_kwargs = {"weight_decay": 1e-5}
scheduler = "cosine"
criterion = "bce_dice"
max_grad_norm = 1.0
batch_size = 2
gradient_accumulation_steps = 4
precision = "bf16-mixed"
epochs = 500
early_stopping_patience = 50

best_metric = "dice"  # the mean over classes
save_top_k = 3

spatial_transforms = {
    "mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}},
    "transpose": {"axes": ["x", "y", "z"]},
    "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180], "z": [-180, 180]}},
}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
