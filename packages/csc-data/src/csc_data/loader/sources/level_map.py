"""The map of a patch in voxels of one stored level, and the box of the level that the patch needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import TOLERANCE, Grid
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap, voxel_range
from csc_data.loader.sources.regions import VoxelIndex
from csc_data.volumes import Level

_NO_PLACE = np.zeros((3, 2))
_EXACTLY = 1e-9  # voxels per voxel: a millionth of a voxel over a thousand of them


class LevelMap:
    """The map of a patch in voxels of one stored grid, in the form that compiled loops take.

    Attributes
    ----------
    m, t : ndarray of float64
        From voxels of the patch to those of the grid, shapes (3, 3) and (3,).
    displacement, place : ndarray
        See `csc_data.loader.sources.gathering.gather_linear`.
    low, high : ndarray of float64
        The range of positions in voxels of the grid, shape (3,).
    """

    __slots__ = ("displacement", "high", "low", "m", "place", "t")

    def __init__(self, patch_map: PatchMap, array: ArrayInfo, source: Grid) -> None:
        from csc_data.loader.sources.gathering import NO_DISPLACEMENT

        self.m, self.t = patch_map.to_voxels(array, source)
        field = patch_map.displacement_in(array, source)
        self.displacement, self.place = field if field is not None else (NO_DISPLACEMENT, _NO_PLACE)
        self.low, self.high = voxel_range(self.m, self.t, array.shape, None if field is None else field[0])

    def steps_within(
        self, data: npt.NDArray[Any], start: VoxelIndex, *, rounded: bool
    ) -> tuple[int, npt.NDArray[np.int64]] | None:
        """Return first value and strides in contiguous data, if the patch's voxels coincide with voxels of the data.

        Parameters
        ----------
        data : ndarray
            A box of the source.
        start : ndarray of int64
            Where it begins.
        rounded : bool
            Whether positions between centres stand for the nearest one.
        """
        steps = np.rint(self.m)
        if self.place is not _NO_PLACE or np.abs(self.m - steps).max() > _EXACTLY:
            return None
        origin = np.floor(self.t + (0.5 + TOLERANCE)) if rounded else np.rint(self.t)
        if not rounded and np.abs(self.t - origin).max() > TOLERANCE:
            return None
        shift = origin - self.t
        if np.any(self.low + shift < start) or np.any(self.high + shift > start + data.shape - 1):
            return None
        strides = np.array([data.shape[1] * data.shape[2], data.shape[2], 1])
        return int(strides @ (origin - start)), (strides @ steps).astype(np.int64)


def covered_box(on: LevelMap, grid: Grid) -> tuple[VoxelIndex, VoxelIndex]:
    """Return the voxels of a grid that a patch reaches."""
    begin = np.maximum(np.floor(on.low + 0.5).astype(np.int64) - 1, 0)
    end = np.minimum(np.floor(on.high + 0.5).astype(np.int64) + 2, np.asarray(grid.shape))
    return begin, end


def read_level_box(level: Level, begin: VoxelIndex, end: VoxelIndex) -> npt.NDArray[Any]:
    """Return a box of a level, contiguous."""
    z, y, x = (slice(int(b), int(e)) for b, e in zip(begin, end, strict=True))
    return np.ascontiguousarray(level.array[z, y, x])


def reflected_box(low: VoxelIndex, high: VoxelIndex, size: VoxelIndex) -> tuple[VoxelIndex, VoxelIndex]:
    """Return the voxels that stand for a box where raw is mirrored beyond the volume."""
    begin, end = np.maximum(low, 0), np.minimum(high, size)
    if np.array_equal(begin, low) and np.array_equal(end, high):
        return begin, end
    end = np.where(low < 0, np.maximum(end, np.minimum(-low + 1, size)), end)
    begin = np.where(high > size, np.minimum(begin, np.maximum(2 * size - high - 1, 0)), begin)
    # Further away than one mirror image the volume is mirrored again, and all of it may be needed.
    far = (low < -size) | (high > 2 * size) | (begin >= end)
    return np.where(far, 0, begin), np.where(far, size, end)
