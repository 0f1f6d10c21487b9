"""A network of PyTorch Connectomics in our training:  csc train their_model.py;  csc predict their_model.py

Any of its architectures will do, and whatever its configuration says of them. It is on no package index, so this was
tried with a stand-in that has the interfaces of its version 2.0 (`Config`, `build_model`), not with itself.
Networks that it shares with MONAI, and MedNeXt, are here as well: mednext_cos7.py, monai_unet_quick.py.
"""

import torch
from connectomics.config import Config
from connectomics.models import build_model

classes = ["nuc", "mito"]
input_array_info = {"shape": (96, 96, 96), "scale": (8, 8, 8)}


class LargestFirst(torch.nn.Module):
    """Gives outputs as our losses take them: in training all of them, in evaluation the one of all voxels."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, raw):
        outputs = self.network(raw)
        if not isinstance(outputs, dict):
            return outputs
        # "output", and of deep supervision "ds_1", "ds_2" ..., each half as fine as the one before
        coarser = sorted((name for name in outputs if name.startswith("ds_")), key=lambda name: int(name[3:]))
        return [outputs[name] for name in ("output", *coarser)] if self.training else outputs["output"]


torch.manual_seed(42)  # the weights are drawn here, not by the trainer
config = Config()
config.model.arch.type = "mednext"
config.model.in_channels = 1
config.model.out_channels = len(classes)
config.model.mednext.size = "S"
config.model.loss.deep_supervision = True
model = LargestFirst(build_model(config))

model_name = "their_mednext"
criterion = "bce_dice"
optimizer = "adamw"
learning_rate = 1e-3
batch_size = 2
epochs = 200
precision = "bf16-mixed"

if __name__ == "__main__":
    from csc_train import train

    train(__file__)
