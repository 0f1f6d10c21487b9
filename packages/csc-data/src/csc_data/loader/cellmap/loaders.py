"""Our loader as a `CellMapDataLoader`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from cellmap_data import CellMapDataLoader

from csc_data.loader.batches import PatchLoader
from csc_data.loader.cellmap.datasets import as_cellmap_dataset
from csc_data.loader.dataloader import Dataloaders
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.workers.pool import Batch

if TYPE_CHECKING:
    from typing import Self


class CropsLoader(CellMapDataLoader):  # type: ignore[misc]
    """Batches of a `PatchLoader`, and the attributes that code for cellmap-data's loader asks for.

    Each iteration is an epoch of its own, whether or not the one before was run to its end: the official loop takes as
    many batches as it wants and drops the iterator.

    Attributes
    ----------
    loader : CropsLoader
        Itself: where cellmap-data has torch's loader, which the official loop iterates over.
    dataset : CropsDataset
        For ``classes``, ``class_counts``, ``class_weights``, ``input_arrays`` and ``target_arrays``. It has transforms
        of its own; setting them there leaves this loader as it is.
    patches : PatchLoader
    """

    def __init__(self, patches: PatchLoader) -> None:
        # Not CellMapDataLoader's own, which would make a sampler and a loader of torch.
        self.patches = patches
        self.dataset = as_cellmap_dataset(patches.patches)
        self.classes = self.dataset.classes
        self.batch_size = patches.batch_size
        self.num_workers = patches.num_workers
        self.is_train = isinstance(patches.patches, TrainingPatches)
        self.iterations_per_epoch = len(patches)

    @property
    def device(self) -> str:
        """Where batches are put."""
        return self.patches.device or "cpu"

    @property
    def loader(self) -> Self:
        """Itself."""
        return self

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.patches)

    def __len__(self) -> int:
        return len(self.patches)

    def refresh(self) -> None:
        """Do nothing: each iteration draws anew. Loops for older cellmap-data call it before an epoch."""

    def to(self, device: str | torch.device) -> Self:
        """Put batches on a device from now on."""
        self.patches.device = str(device)
        return self


def as_cellmap_loader(loader: PatchLoader) -> CropsLoader:
    """Return a loader as cellmap-data has it."""
    return CropsLoader(loader)


def as_cellmap_loaders(loaders: Dataloaders) -> tuple[CropsLoader, CropsLoader | None]:
    """Return the loaders for training and validation as the official ``get_dataloader`` gives them."""
    validation = None if loaders.validation is None else CropsLoader(loaders.validation)
    return CropsLoader(loaders.train), validation
