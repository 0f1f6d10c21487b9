"""Predicting blocks: patches through the network, their kept voxels put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

from csc_data.blocks import Block
from csc_data.errors import InvalidArgumentError
from csc_data.volumes.stored_values import StoredValues
from csc_train.network import crop_centre
from csc_train.prediction.predictor import Predictor
from csc_train.prediction.reading import BlockReader, PatchBatch, UnreadBlock
from csc_train.prediction.tiling import Tile, Tiling


def stored_values(predictor: Predictor) -> StoredValues:
    """Return the meaning of the numbers that are written."""
    one = 255.0 if predictor.settings.stored_dtype == "uint8" else 1.0
    return StoredValues(kind=predictor.settings.output, one=one)


@dataclass(kw_only=True)
class BlockPredictor:
    """Writes the blocks of a crop.

    Attributes
    ----------
    predictor : Predictor
    tiling : Tiling
    fabric : Fabric
    ahead : iterator of PatchBatch or UnreadBlock
        What is read ahead: the patches of all blocks to predict, in their order.
    reader : BlockReader
        Reads the patches of a block that failed before and is repeated.
    arrays : list
        A zarr array for each class.
    """

    predictor: Predictor
    tiling: Tiling
    fabric: Fabric
    ahead: Iterator[PatchBatch | UnreadBlock]
    reader: BlockReader
    arrays: list[Any]
    _dtype: str = field(init=False)
    _begun: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._dtype = self.predictor.settings.stored_dtype

    def __call__(self, block: Block) -> None:
        """Predict a block and write it, all classes."""
        values = self.compute(block)
        for array, part in zip(self.arrays, values, strict=True):
            array[block.write] = part

    def compute(self, block: Block) -> npt.NDArray[Any]:
        """Return what will be stored of a block, shape (C, z, y, x).

        Raises
        ------
        InvalidArgumentError
            If the network's output does not fit its classes or the target.
        CscError, OSError
            If its patches cannot be read.
        """
        several = len(self.tiling.orientations)
        shape = (len(self.predictor.classes), *block.shape)
        # With one orientation each voxel is predicted once and stored as it is; a mean of several needs floats.
        out = np.zeros(shape, dtype=np.float32 if several > 1 else self._dtype)
        for batch in self._batches(block):
            for tile, part in zip(batch.tiles, self._predict(batch, finish=several == 1), strict=True):
                kept = _along_world(part, tile)[(slice(None), *tile.keep)]
                if several > 1:
                    out[(slice(None), *tile.place)] += kept
                else:
                    out[(slice(None), *tile.place)] = kept
        if several == 1:
            return out
        return self._as_stored(torch.from_numpy(out) / several).numpy()

    def _batches(self, block: Block) -> Iterator[PatchBatch]:
        """Yield all batches of a block: those read ahead, or read here if the block is repeated."""
        if block.index in self._begun:
            yield from self.reader.batches([block])
            return
        self._begun.add(block.index)
        for batch in self.ahead:
            if batch.block != block.index:
                if batch.block in self._begun:
                    continue  # left over from a block that failed
                raise RuntimeError(f"patches of block {batch.block} came where those of {block.index} were expected")
            if isinstance(batch, UnreadBlock):
                raise batch.error
            yield batch
            if batch.last:
                return
        raise RuntimeError(f"the patches of block {block.index} ended too early")

    @torch.inference_mode()
    def _predict(self, batch: PatchBatch, *, finish: bool) -> npt.NDArray[Any]:
        """Return the network's output, shape (B, C, z, y, x), flat patches with their z axis; finished for storing."""
        given = torch.from_numpy(batch.values).to(self.fabric.device)
        with self.fabric.autocast():
            logits = self.predictor.network(given)
        if isinstance(logits, list | tuple):
            logits = logits[0]  # of deep supervision: the largest comes first
        target = self.tiling.patch.target.shape
        if logits.shape[1] != len(self.predictor.classes) or logits.ndim != given.ndim:
            raise InvalidArgumentError(
                f"the network gives {tuple(logits.shape)} for {len(self.predictor.classes)} classes"
            )
        if self.tiling.patch.target.flat:
            logits = logits.unsqueeze(2)
        values = crop_centre(logits, target).float()
        if self.predictor.settings.output == "probability":
            # Distances from -1 to 1 are read as `csc_data.volumes.stored_values` does: 0, the surface, is a half.
            distances = self.predictor.values == "distance"
            values = ((values + 1) / 2).clamp_(0, 1) if distances else torch.sigmoid(values)
        result: npt.NDArray[Any] = (self._as_stored(values) if finish else values).cpu().numpy()
        return result

    def _as_stored(self, values: Tensor) -> Tensor:
        if self._dtype == "uint8":
            return (values * 255).round_().to(torch.uint8)
        return values.to(torch.float16 if self._dtype == "float16" else torch.float32)


def _along_world(part: npt.NDArray[Any], tile: Tile) -> npt.NDArray[Any]:
    """Bring the output of a patch, shape (C, ...), back along the volume's axes."""
    order = [0, *(1 + tile.orientation.world_axis.index(axis) for axis in range(3))]
    return part.transpose(order)
