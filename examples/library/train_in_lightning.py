"""A network of csc-models on batches of csc_data.loader, trained by Lightning:  python train_in_lightning.py

    pip install csc-models "csc-data[torch]" pytorch-lightning
    csc make-datasplit -c mito,er && python train_in_lightning.py data/datasplit.csv

What it saves is a checkpoint that says what it is, so `csc predict lightning.pth` goes on from there.
"""

import sys

import pytorch_lightning
import torch

from csc_data.loader import get_dataloader
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription, save_checkpoint

CLASSES = ("mito", "er")
PATCH = {"shape": (64, 64, 64), "scale": (8, 8, 8)}  # voxels and nm, z, y, x
RAW_RANGE = (0.0, 1.0)  # what 0 to 255 become before the network sees them


class Samples(pytorch_lightning.LightningDataModule):
    """Our loaders: each process gets samples of its own, and epochs are numbered also when a run goes on."""

    def __init__(self, datasplit, patch=PATCH, **options):
        super().__init__()
        self.datasplit, self.patch, self.options = datasplit, patch, options

    def setup(self, stage):
        ranks = {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}
        given = {"input_array_info": self.patch, "raw_range": RAW_RANGE, "spatial_transforms": {"mirror": True}}
        self.loaders = get_dataloader(self.datasplit, CLASSES, **given, **ranks, **self.options)

    def train_dataloader(self):
        self.loaders.train.set_epoch(self.trainer.current_epoch)
        return self.loaders.train

    def val_dataloader(self):
        return self.loaders.validation


class Segmentation(pytorch_lightning.LightningModule):
    """Any network by name, and the cross-entropy of what is known: targets are NaN where nobody annotated."""

    def __init__(self, name="3d_unet_s", **arguments):
        super().__init__()
        self.network = create_model(name, n_channels=1, n_classes=len(CLASSES), **arguments)

    def loss(self, batch):
        known = ~batch["output"].isnan()
        logits = self.network(batch["input"])
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[known], batch["output"][known])

    def training_step(self, batch, index):
        return self.loss(batch)

    def validation_step(self, batch, index):
        self.log("loss", self.loss(batch), batch_size=len(batch["input"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def save(self, path, patch=PATCH):
        arrays = {"input_arrays": {"raw": patch}, "target_arrays": {"labels": patch}}
        description = CheckpointDescription(classes=CLASSES, raw_range=RAW_RANGE, **arrays)
        save_checkpoint(path, self.network, description=description)


if __name__ == "__main__":
    trainer = pytorch_lightning.Trainer(
        max_epochs=20,
        use_distributed_sampler=False,  # our loader divides samples itself
    )
    model = Segmentation()
    trainer.fit(model, datamodule=Samples(*sys.argv[1:2] or ["data/datasplit.csv"], batch_size=4, num_workers=4))
    model.save("lightning.pth")
