"""Batches as the trainer of nnU-Net v2 takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate

from csc_data.loader.batches import PatchLoader
from csc_data.loader.workers.pool import Batch


class NnunetBatches:
    """A loader's batches in place of nnU-Net's own, for ``get_dataloaders`` of a trainer of yours.

    A batch is ``{"data": (B, 1, ...), "target": (B, C + 1, ...), "keys": crops}``. The target has the form of nnU-Net's
    region-based training with an ignore label: a channel for each class, and as the last one what is to be ignored,
    namely voxels of which some class is unknown. Batches never end, as nnU-Net counts its iterations itself.

    Parameters
    ----------
    loader : PatchLoader
    deep_supervision_scales : sequence of sequence of float, optional
        As nnU-Net's trainer has them: then targets are a list, shrunk by each of them.
    """

    def __init__(self, loader: PatchLoader, deep_supervision_scales: Sequence[Sequence[float]] | None = None) -> None:
        self.loader = loader
        self.batch_size = loader.batch_size
        self.deep_supervision_scales = deep_supervision_scales
        self._batches = _named_batches(loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return self.generate_train_batch()

    def generate_train_batch(self) -> dict[str, Any]:
        """Return the next batch."""
        crops, batch = next(self._batches)
        target = batch["output"]
        ignored = torch.isnan(target).any(dim=1, keepdim=True)
        whole = torch.cat([target == 1, ignored], dim=1)
        return {"data": batch["input"], "target": self._supervised(whole), "keys": crops}

    def _supervised(self, target: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        if self.deep_supervision_scales is None:
            return target
        sizes = [
            [max(1, round(n * s)) for n, s in zip(target.shape[2:], scales, strict=True)]
            for scales in self.deep_supervision_scales
        ]
        values = target.to(torch.float32)
        return [interpolate(values, size=size, mode="nearest-exact") == 1 for size in sizes]


def _named_batches(loader: PatchLoader) -> Iterator[tuple[list[str], Batch]]:
    """Yield batches without end, with the names of their samples' crops."""
    crops = loader.patches.reader.crops
    while True:
        for indices, batch in zip(loader.indices(loader.epoch), loader, strict=True):
            yield [crops[loader.patches.place(index).crop].name for index in indices], batch
