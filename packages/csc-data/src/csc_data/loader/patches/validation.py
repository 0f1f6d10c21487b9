"""Tiles of crops for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid
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
        return self._place(self._number(index))

    def _number(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        return int(self._order[index]) if self._order is not None else index

    def _place(self, number: int) -> PatchPlace:
        crop = int(np.searchsorted(self._ends, number, side="right"))
        tile = self._tiles[crop][number - (int(self._ends[crop - 1]) if crop else 0)]
        target = self.reader.grid(crop).window(tile.begin, self.reader.patch.target.shape)
        return PatchPlace(crop=crop, patch_map=PatchMap.upright(target)[0], class_name=None)

    @property
    def tile_counts(self) -> tuple[int, ...]:
        """Number of tiles of each crop."""
        return tuple(map(len, self._tiles))

    def crop_numbers(self, indices: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the crop that each sample is a tile of, as its number in ``reader.crops``."""
        numbers = np.asarray(indices, dtype=np.int64)
        return np.searchsorted(self._ends, numbers if self._order is None else self._order[numbers], side="right")

    def tile(self, number: int) -> Sample:
        """Return a tile by its number, crop after crop, whatever the order."""
        sample = {name: np.empty(shape, dtype=np.float32) for name, shape in self.shapes().items()}
        self._fill(number, sample)
        return self.reader.squeezed_sample(sample)

    def read_batch(self, indices: Sequence[int], batch: Sample) -> None:
        """Fill a batch in place; see `shapes` for its arrays."""
        for position, index in enumerate(indices):
            self._fill(self._number(index), {name: array[position] for name, array in batch.items()})

    def drawn(self, indices: Sequence[int]) -> Iterator[tuple[PatchPlace, None]]:
        """Yield where samples come from; nothing happens to their raw."""
        for index in indices:
            yield self.place(index), None

    def _fill(self, number: int, sample: Sample) -> None:
        placed = self._place(number)
        self.reader.gather(placed.crop, placed.patch_map, sample)
        if self.values:
            self.reader.apply(self.values, sample, np.random.default_rng(number))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return self.reader.shapes()

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        return self.reader.squeezed(batch)
