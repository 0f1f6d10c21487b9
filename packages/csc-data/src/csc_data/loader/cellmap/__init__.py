"""Our samples in the classes of cellmap-data, for code that was written for those.

What is made here *is* a `CellMapDataset`, `CellMapMultiDataset`, `CellMapDataSplit` or `CellMapDataLoader`, so code
that asks finds what it looks for; reading, placing and augmenting is ours. Importing this package imports
cellmap-data, which brings torchvision and matplotlib; `csc_data.loader` does not.

A training loop of the official toolbox runs on the loaders as they are::

    train_loader, val_loader = as_cellmap_loaders(get_dataloader(...))

and cellmap-data's own loader and sampler run on the datasets::

    combined = as_cellmap_split(get_dataloader(...)).train_datasets_combined
    loader = CellMapDataLoader(combined, batch_size=8, weighted_sampler=True, iterations_per_epoch=800)
"""

from csc_data.loader.cellmap.crops import CropDataset, DrawnCrop, TiledCrop
from csc_data.loader.cellmap.datasets import CropsDataset, as_cellmap_dataset
from csc_data.loader.cellmap.loaders import CropsLoader, as_cellmap_loader, as_cellmap_loaders
from csc_data.loader.cellmap.splits import CropsSplit, as_cellmap_split

__all__ = [
    "CropDataset",
    "CropsDataset",
    "CropsLoader",
    "CropsSplit",
    "DrawnCrop",
    "TiledCrop",
    "as_cellmap_dataset",
    "as_cellmap_loader",
    "as_cellmap_loaders",
    "as_cellmap_split",
]
