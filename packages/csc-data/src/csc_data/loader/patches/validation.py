"""Tiles of crops for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid
from csc_data.geometry import Grid
from csc_data.loader.patches.reader import PatchReader, Sample
from csc_data.loader.patches.training import PatchPlace
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.poses.patch_map import PatchMap


class ValidationPatches:
    """Tiles that cover the crops fully, each voxel once, in a fixed order.

    Tiles reach beyond the end of a crop if its size is not a multiple of theirs; what is beyond is unknown.

    Parameters
    ----------
    reader : PatchReader
    shuffle_seed : int, optional
        Bring the tiles into a random, but fixed order, so that the first of them are a fair sample of all.
    values : ValueTransforms, optional
        What is done to each sample, last of all; in the same way each time.
    """

    def __init__(
        self, reader: PatchReader, *, shuffle_seed: int | None = None, values: ValueTransforms | None = None
    ) -> None:
        self.reader = reader
        self.values = values or ValueTransforms()
        self.shuffle_seed = shuffle_seed
        shape = reader.patch.target.shape
        self._tiles = [BlockGrid(shape=reader.grid(crop).shape, block_shape=shape) for crop in range(len(reader.crops))]
        self._ends = np.cumsum([len(tiles) for tiles in self._tiles])
        self._order = None
        if shuffle_seed is not None:
            self._order = np.random.default_rng(shuffle_seed).permutation(len(self))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        return self.tile(self._number(index))

    def place(self, index: int) -> PatchPlace:
        """Return where the sample of an index comes from."""
        crop, target = self._target(self._number(index))
        centre = (np.asarray(target.bounds.begin) + np.asarray(target.bounds.end)) / 2
        return PatchPlace(crop=crop, patch_map=PatchMap(centre=centre), class_name=None)

    def _number(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        return int(self._order[index]) if self._order is not None else index

    def _target(self, number: int) -> tuple[int, Grid]:
        crop = int(np.searchsorted(self._ends, number, side="right"))
        tile = self._tiles[crop][number - (int(self._ends[crop - 1]) if crop else 0)]
        return crop, self.reader.grid(crop).window(tile.begin, self.reader.patch.target.shape)

    @property
    def tile_counts(self) -> tuple[int, ...]:
        """Number of tiles of each crop."""
        return tuple(map(len, self._tiles))

    def tile(self, number: int) -> Sample:
        """Return a tile by its number, crop after crop, whatever the order."""
        crop, target = self._target(number)
        sample = self.reader.read(crop, target)
        if self.values:
            shapes = self.shapes()
            whole = {name: values.reshape(shapes[name]) for name, values in sample.items()}
            self.reader.apply(self.values, whole, np.random.default_rng(number))
        return sample

    def read_batch(self, indices: Sequence[int], batch: Sample) -> None:
        """Fill a batch in place; see `shapes` for its arrays."""
        for number, index in enumerate(indices):
            for name, values in self[index].items():
                batch[name][number] = values.reshape(batch[name].shape[1:])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return self.reader.shapes()

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        return self.reader.squeezed(batch)
