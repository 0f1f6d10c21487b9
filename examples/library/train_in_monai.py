"""A network of csc-models on batches of csc_data.loader, with MONAI's loss, metric and inference.

    pip install csc-models "csc-data[torch]" monai
    csc make-datasplit -c mito,er && python train_in_monai.py data/datasplit.csv

The other way round, networks of MONAI in our trainer: `architecture = "monai_unet"` in any experiment.
"""

import sys

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import MaskedDiceLoss
from monai.metrics import DiceMetric

from csc_data.loader import get_dataloader
from csc_models import create_model

CLASSES = ("mito", "er")
PATCH = {"shape": (64, 64, 64), "scale": (8, 8, 8)}  # voxels and nm, z, y, x


def prepare(batch):
    """Return raw, targets without NaN, and where they are known, as MONAI's masked losses take them."""
    known = (~batch["output"].isnan()).float()
    return batch["input"], batch["output"].nan_to_num(0), known


def train(network, loaders, epochs, learning_rate=1e-3):
    """Train, and return the mean Dice of validation after each epoch."""
    loss_of = MaskedDiceLoss(sigmoid=True, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    scores = []
    for _ in range(epochs):  # the loader moves on to its next epoch by itself
        network.train()
        for batch in loaders.train:
            raw, target, known = prepare(batch)
            # One class at a time, for MONAI's mask has one channel for all of them
            each = [
                loss_of(logits[:, None], wanted[:, None], mask=mask[:, None])
                for logits, wanted, mask in zip(*(t.unbind(1) for t in (network(raw), target, known)), strict=True)
            ]
            optimizer.zero_grad()
            sum(each).backward()
            optimizer.step()
        scores.append(validate(network, loaders.validation))
    return scores


@torch.no_grad()
def validate(network, loader):
    network.eval()
    metric = DiceMetric(ignore_empty=True)
    for batch in loader:
        raw, target, known = prepare(batch)
        metric((network(raw) > 0).float() * known, target)
    return metric.aggregate().item()


@torch.no_grad()
def predict(network, raw, patch=PATCH):
    """Return probabilities (C, z, y, x) of a volume of raw, uint8, at the voxel size of training."""
    network.eval()
    scaled = torch.from_numpy(raw.astype(np.float32) / 255)[None, None]
    return sliding_window_inference(scaled, patch["shape"], 1, network, mode="gaussian")[0].sigmoid().numpy()


if __name__ == "__main__":
    split = sys.argv[1] if len(sys.argv) > 1 else "data/datasplit.csv"
    given = get_dataloader(split, CLASSES, batch_size=4, input_array_info=PATCH, num_workers=4)
    print(train(create_model("3d_unet_s", n_channels=1, n_classes=len(CLASSES)), given, epochs=20))
