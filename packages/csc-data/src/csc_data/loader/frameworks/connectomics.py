"""Samples as PyTorch Connectomics (version 2) has them: ``image``, ``label`` and ``mask``."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from csc_data.loader.batches import PatchLoader


class ConnectomicsDataset(Dataset[dict[str, torch.Tensor]]):
    """A loader's samples in the form of PyTorch Connectomics' own data sets, for its data module and its trainer.

    ``image`` is raw (1, z, y, x), ``label`` the targets (C, z, y, x) and ``mask``, of the same shape, 1 where they are
    known. Its losses know no unknown voxels: there the label is 0, or what is said.

    Parameters
    ----------
    loader : PatchLoader
    unknown : float
        What the label is where nobody knows.
    """

    def __init__(self, loader: PatchLoader, *, unknown: float = 0.0) -> None:
        self.samples = loader.dataset
        self.unknown = unknown

    def set_epoch(self, epoch: int) -> None:
        """Choose the samples of a training epoch."""
        self.samples.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = self.samples[index]
        label = sample["output"]
        known = ~torch.isnan(label)
        return {"image": sample["input"], "label": label.nan_to_num(self.unknown), "mask": known.to(torch.float32)}
