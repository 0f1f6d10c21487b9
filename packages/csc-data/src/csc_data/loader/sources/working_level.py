"""The level that raw is read from, brought down to the voxel size that a network sees.

Which level that is, the network's nominal voxel size decides alone, so that training, however it turns and scales its
patches, sees the noise and the sharpness of prediction. Where no stored level has about that size, a finer one is
shrunk: voxels are averaged as they are in pyramids, and what remains between one and two voxels is a slight low-pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import LEVEL_TOLERANCE, Grid, Roi, Shape, as_shape
from csc_data.loader.sources.holding.regions import VoxelIndex
from csc_data.loader.sources.level_map import mirrored_indices, read_level_box
from csc_data.loader.sources.stored_box import StoredBox, find_stored_box
from csc_data.volumes import Level, Volume, downsampled_grid

_SLAB_VOXELS = 1 << 22  # shrunk at a time: as float32, 16 MB
_SLIGHT = 1e-3  # share of a neighbour that changes nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkingLevel:
    """A level of raw, read in voxels of at least half, and at most all, of the size that is asked for.

    Attributes
    ----------
    name : str
        Tells it from the other working levels of its volume.
    level : Level
        What is stored.
    factors : tuple of int
        Voxels of the stored level that are averaged, z, y, x.
    shares : tuple of float
        What each of a voxel's two neighbours along an axis gives to it.
    grid : Grid
        Of the averaged voxels.
    stored : StoredBox
        Where there is raw around the crop; at its faces raw is mirrored.
    """

    name: str
    level: Level
    factors: Shape
    shares: tuple[float, float, float]
    grid: Grid
    stored: StoredBox

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the voxels."""
        return self.level.dtype

    @property
    def faces(self) -> npt.NDArray[np.int64]:
        """The first and one after the last voxel of the grid in which there is raw, shape (2, 3)."""
        return np.stack([self.stored.begin // self.factors, -(-self.stored.end // np.asarray(self.factors))])

    def read(self, begin: VoxelIndex, end: VoxelIndex) -> npt.NDArray[Any]:
        """Return a box of the grid that lies within its `faces`, contiguous.

        Raises
        ------
        UnreadableDataError
            If a chunk cannot be read.
        """
        if self.factors == (1, 1, 1) and not any(self.shares):
            return read_level_box(self.level, begin, end)
        out = np.empty(as_shape((end - begin).tolist()), dtype=self.dtype)
        step = max(1, _SLAB_VOXELS // max(1, math.prod(self.factors) * math.prod(out.shape[1:])))
        for z in range(0, len(out), step):
            first, last = begin.copy(), end.copy()
            first[0], last[0] = begin[0] + z, min(begin[0] + z + step, end[0])
            out[z : z + step] = self._shrink(first, last)
        return out

    def _shrink(self, begin: VoxelIndex, end: VoxelIndex) -> npt.NDArray[Any]:
        around = np.array([1 if share else 0 for share in self.shares])
        factors = np.asarray(self.factors)
        low, high = (begin - around) * factors, (end + around) * factors
        index = [
            mirrored_indices(np.arange(b, e), first, last)
            for b, e, first, last in zip(low, high, self.stored.begin, self.stored.end, strict=True)
        ]
        least = np.array([i.min() for i in index])
        stored = read_level_box(self.level, least, np.array([i.max() + 1 for i in index]))
        values: npt.NDArray[Any] = stored.astype(np.float64 if stored.dtype.itemsize > 2 else np.float32)
        for axis, (i, factor, share) in enumerate(zip(index, self.factors, self.shares, strict=True)):
            if not np.array_equal(i, np.arange(least[axis], least[axis] + values.shape[axis])):
                values = np.take(values, i - least[axis], axis=axis)
            values = np.moveaxis(values, axis, 0)
            if factor > 1:
                values = values.reshape(-1, factor, *values.shape[1:]).mean(axis=1)
            if share:
                inner = values[1:-1]
                values = inner + (values[:-2] + values[2:] - 2 * inner) * values.dtype.type(share)
            values = np.moveaxis(values, 0, axis)
        return (np.rint(values) if np.issubdtype(stored.dtype, np.integer) else values).astype(stored.dtype)


def open_working_level(volume: Volume, voxel_size: Sequence[float], crop: Roi, reach: Roi) -> WorkingLevel:
    """Choose the level for a voxel size, and how it is shrunk.

    A voxel that stands for r of the stored ones is their mean: of whole ones where r is whole; else of the whole ones
    in it, and of its neighbours so much that its extent has the variance of r voxels.

    Parameters
    ----------
    volume : Volume
    voxel_size : sequence of float
        nm, z, y, x.
    crop : Roi
        What certainly is to be read, in nm.
    reach : Roi
        What may be read, in nm.
    """
    level = volume.level_for(voxel_size)
    ratios, factors = _factors(level, voxel_size)
    shares = [(max(1.0, r / k) ** 2 - 1) / 24 for r, k in zip(ratios, factors, strict=True)]
    a, b, c = (share if share > _SLIGHT else 0.0 for share in shares)
    name = f"{level.name} {factors} {(round(a, 9), round(b, 9), round(c, 9))}"
    return WorkingLevel(
        name=name,
        level=level,
        factors=factors,
        shares=(a, b, c),
        grid=_shrunk(level.grid, factors),
        stored=find_stored_box(level, crop, reach),
    )


def working_grid(volume: Volume, voxel_size: Sequence[float]) -> Grid:
    """Return the grid of the voxels that raw is read in for a voxel size; nothing is read for it."""
    level = volume.level_for(voxel_size)
    return _shrunk(level.grid, _factors(level, voxel_size)[1])


def _factors(level: Level, voxel_size: Sequence[float]) -> tuple[list[float], Shape]:
    """Return how many stored voxels a wanted one stands for along each axis, and how many of them are averaged."""
    ratios = [w / v for w, v in zip(voxel_size, level.grid.voxel_size, strict=True)]
    z, y, x = (max(1, math.floor(r * (1 + LEVEL_TOLERANCE))) for r in ratios)
    return ratios, (z, y, x)


def _shrunk(grid: Grid, factors: Shape) -> Grid:
    if factors == (1, 1, 1):
        return grid
    # The last voxel may be one of fewer: what there is of raw is used to its end.
    whole = [-(-n // k) * k for n, k in zip(grid.shape, factors, strict=True)]
    return downsampled_grid(grid.window((0, 0, 0), whole), factors)
