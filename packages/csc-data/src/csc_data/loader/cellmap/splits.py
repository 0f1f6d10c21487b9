"""The loaders of a datasplit as a `CellMapDataSplit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from cellmap_data import CellMapDataSplit
from torch.utils.data import Subset

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.loader.cellmap.datasets import CropsDataset, as_cellmap_dataset
from csc_data.loader.dataloader import Dataloaders

if TYPE_CHECKING:
    from typing import Self


class Blocks(Subset[Any]):
    """Validation tiles; code that was written for older cellmap-data moves them to a device."""

    def to(self, device: str | torch.device) -> Self:
        """Return itself: samples are made on the CPU."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name in ("classes", "input_arrays", "target_arrays", "class_counts", "class_weights"):
            return getattr(self.dataset, name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


class CropsSplit(CellMapDataSplit):  # type: ignore[misc]
    """Training and validation crops.

    Parameters
    ----------
    train : CropsDataset
    validation : CropsDataset, optional
    """

    def __init__(self, train: CropsDataset, validation: CropsDataset | None) -> None:
        first = train.datasets[0]
        super().__init__(
            input_arrays=train.input_arrays,
            target_arrays=train.target_arrays,
            classes=train.classes,
            pad=True,
            datasets={"train": train.datasets, "validate": validation.datasets if validation is not None else ()},
            train_raw_value_transforms=first.raw_value_transforms,
            val_raw_value_transforms=validation.datasets[0].raw_value_transforms if validation is not None else None,
            target_value_transforms=first.target_value_transforms,
        )

    @property
    def train_datasets_combined(self) -> CropsDataset:
        """All training crops."""
        return CropsDataset(self.train_datasets)

    @property
    def validation_datasets_combined(self) -> CropsDataset:
        """All validation crops.

        Raises
        ------
        MissingDataError
            If the datasplit has none.
        """
        if not self.validation_datasets:
            raise MissingDataError("the datasplit has no validation crops with any of the classes")
        return CropsDataset(self.validation_datasets)

    @property
    def validation_blocks(self) -> Blocks:
        """All tiles of all validation crops."""
        combined = self.validation_datasets_combined
        return Blocks(combined, combined.validation_indices)

    def set_arrays(self, arrays: Mapping[str, Any], type: str = "target", usage: str = "validate") -> None:  # noqa: A002  # cellmap-data's name
        """Refuse: crops are opened for certain arrays.

        Raises
        ------
        InvalidArgumentError
            Always.
        """
        raise InvalidArgumentError("the arrays of opened crops cannot be changed: make another split")


def as_cellmap_split(loaders: Dataloaders) -> CropsSplit:
    """Return what `get_dataloader` opened as cellmap-data's split."""
    validation = None if loaders.validation is None else as_cellmap_dataset(loaders.validation.patches)
    return CropsSplit(as_cellmap_dataset(loaders.train.patches), validation)
