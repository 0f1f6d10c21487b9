"""Ten epochs with a small U-Net of MONAI, to see that everything works, as PyTorch Connectomics' recipe has it.

pip install "csc-models[monai]"
csc train monai_unet_quick.py
"""

classes = ["nuc", "mito"]
input_array_info = {"shape": (64, 64, 64), "scale": (8, 8, 8)}

model_name = "monai_unet_quick"
architecture = "monai_basic_unet3d"

optimizer = "adamw"
learning_rate = 1e-3
optimizer_kwargs = {"weight_decay": 1e-5}
scheduler = "cosine"
criterion = "bce_dice"
max_grad_norm = 1.0
batch_size = 4
epochs = 10
iterations_per_epoch = 100
num_gpus = 1
precision = "bf16-mixed"

spatial_transforms = {"mirror": {"axes": {"x": 0.5, "y": 0.5}}}

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
