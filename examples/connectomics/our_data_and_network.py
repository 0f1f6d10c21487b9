"""Our crops and a network of csc-models in the training of PyTorch Connectomics.

    csc make-datasplit -c nuc,mito && python our_data_and_network.py theirs.yaml data/datasplit.csv

theirs.yaml is a configuration of PyTorch Connectomics: of losses, optimizer, schedule and monitoring; what it says of
data and architecture is not used. It is on no package index, so this was tried with a stand-in that has the interfaces
of its version 2.0 (`load_config`, `ConnectomicsModule`, `SimpleDataModule`, `create_trainer`), not with itself.
"""

import sys
from pathlib import Path

from connectomics.config import load_config, resolve_default_profiles
from connectomics.training.lightning import ConnectomicsModule, SimpleDataModule, create_trainer
from pytorch_lightning import Callback
from torch.utils.data import DataLoader

from csc_data.loader import get_dataloader
from csc_data.loader.frameworks.connectomics import ConnectomicsDataset
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription, save_checkpoint

CLASSES = ("nuc", "mito")
PATCH = {"shape": (96, 96, 96), "scale": (8, 8, 8)}  # voxels and nm, z, y, x


class NextSamples(Callback):
    """Chooses other samples in each epoch: `image`, `label`, and `mask`, which is 1 where the label is known."""

    def __init__(self, samples):
        self.samples = samples

    def on_train_epoch_start(self, trainer, module):
        self.samples.set_epoch(trainer.current_epoch)


def train(their_config, datasplit, network, *, patch=PATCH, batch_size=2, **options):
    """Train a network as their configuration says, and keep it as a checkpoint that `csc predict` takes."""
    config = resolve_default_profiles(load_config(their_config), mode="train")
    loaders = get_dataloader(datasplit, CLASSES, input_array_info=patch, batch_size=batch_size, **options)
    training, validation = (ConnectomicsDataset(loader) for loader in loaders)
    data = SimpleDataModule(
        train_loader=DataLoader(training, batch_size=batch_size),
        val_loader=DataLoader(validation, batch_size=batch_size),
    )
    trainer = create_trainer(config, run_dir=Path("outputs"))
    trainer.callbacks.append(NextSamples(training))
    trainer.fit(ConnectomicsModule(config, model=network), datamodule=data)
    arrays = {"input_arrays": {"raw": patch}, "target_arrays": {"labels": patch}}
    description = CheckpointDescription(classes=CLASSES, raw_range=(0.0, 1.0), **arrays)
    save_checkpoint("from_connectomics.pth", network, description=description)


if __name__ == "__main__":
    train(*sys.argv[1:3], create_model("3d_mednext", n_channels=1, n_classes=len(CLASSES)))
