"""The map of a patch in voxels of one grid, and the box of the grid that the patch needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import TOLERANCE, Grid, Roi
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap, voxel_range
from csc_data.loader.sources.holding.regions import VoxelIndex
from csc_data.volumes import Level

_NO_PLACE = np.zeros((3, 2))
_ALONG = 1e-9  # voxels per voxel: a millionth of a voxel over a thousand of them
_DECIMALS = 6  # of nm: sizes and places are decimals, so rounding takes away what binary arithmetic added
_WEIGHTS = 65536.0


class LevelMap:
    """The map of a patch in voxels of one grid, in the form that compiled loops take.

    Attributes
    ----------
    m, t : ndarray of float64
        From voxels of the patch to those of the grid, shapes (3, 3) and (3,).
    displacement, place : ndarray
        See `csc_data.loader.sources.gathering.rows.bend_row`.
    low, high : ndarray of float64
        The range of positions in voxels of the grid, shape (3,).
    positions : list of ndarray of float64, or None
        Where the patch lies along the axes, the positions of its voxels along each of its own axes, in voxels of the
        grid and the same to the last bit whatever patch they belong to; None where it is turned or bent.
    axes : list of int
        The axis of the grid that each axis of such a patch runs along.

    Examples
    --------
    >>> from csc_data import Grid
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> volume = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> patch = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
    >>> begin, end = LevelMap(PatchMap(centre=np.array([40.0, 40.0, 40.0])), patch, volume).needed(0)
    >>> begin.tolist(), end.tolist()
    ([2, 2, 2], [9, 9, 9])
    """

    __slots__ = ("axes", "displacement", "high", "low", "m", "place", "positions", "t")

    def __init__(self, patch_map: PatchMap, array: ArrayInfo, source: Grid) -> None:
        from csc_data.loader.sources.gathering.rows import NO_DISPLACEMENT

        self.m, self.t = patch_map.to_voxels(array, source)
        field = patch_map.displacement_in(array, source)
        self.displacement, self.place = field if field is not None else (NO_DISPLACEMENT, _NO_PLACE)
        self.low, self.high = voxel_range(self.m, self.t, array.shape, None if field is None else field[0])
        along = [[axis for axis, e in enumerate(column) if abs(e) > _ALONG] for column in self.m.T.tolist()]
        self.positions, self.axes = None, [axes[0] if axes else 0 for axes in along]
        if field is None and sorted(axis for axes in along for axis in axes) == [0, 1, 2]:
            self.positions = [_positions(patch_map, array, source, n, axis) for n, axis in enumerate(self.axes)]

    def needed(self, before: int) -> tuple[VoxelIndex, VoxelIndex]:
        """Return the box of voxels, not clipped, that is needed to interpolate.

        Parameters
        ----------
        before : int
            Voxels before the one that a position lies behind: 0 for a line, 1 for a cubic.
        """
        # A voxel more on each side: loops treat positions at the ends of a box as if raw were mirrored there.
        return (
            np.floor(self.low).astype(np.int64) - 1 - before,
            np.floor(self.high).astype(np.int64) + 3 + before,
        )


def _positions(patch_map: PatchMap, array: ArrayInfo, source: Grid, own: int, axis: int) -> npt.NDArray[np.float64]:
    """Return where the voxels along one axis of a patch lie along one of a grid."""
    offset = (np.arange(array.shape[own]) - (array.shape[own] - 1) / 2) * array.scale[own]
    nm = np.round(patch_map.centre[axis] + patch_map.linear[axis, own] * offset, _DECIMALS)
    index = (nm - source.translation[axis]) / source.voxel_size[axis]
    half = np.rint(2 * index) / 2
    positions: npt.NDArray[np.float64] = np.where(np.abs(index - half) < TOLERANCE, half, index)
    return positions


def linear_steps(
    on: LevelMap, faces: npt.NDArray[np.int64], begin: VoxelIndex, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the tables of `csc_data.loader.sources.gathering.raw.gather_along_axes`.

    Parameters
    ----------
    on : LevelMap
        Of a patch that lies along the axes.
    faces : ndarray of int64
        Shape (2, 3): where raw begins and ends, and is mirrored.
    begin : ndarray of int64
        Where the box of values begins.
    shape : tuple of int
        Of the box.
    """
    steps, weights = [], []
    strides = (shape[1] * shape[2], shape[2], 1)
    for positions, axis in zip(on.positions or (), on.axes, strict=True):
        units = np.floor(positions * _WEIGHTS + 0.5)
        first = np.floor(units / _WEIGHTS)
        weight = units / _WEIGHTS - first
        pair = np.stack([first, first + (weight > 0)], axis=1).astype(np.int64)
        pair = mirrored_indices(pair, faces[0, axis], faces[1, axis])
        steps.append((pair - begin[axis]) * strides[axis])
        weights.append(weight.astype(np.float32))
    return np.concatenate(steps), np.concatenate(weights)


def mirrored_indices(index: npt.NDArray[np.int64], low: int, high: int) -> npt.NDArray[np.int64]:
    """Return the voxels that stand for those beyond low to high, as compiled loops do (`gathering.rows.mirrored`).

    Examples
    --------
    >>> mirrored_indices(np.arange(-2, 6), 0, 4).tolist()
    [1, 0, 0, 1, 2, 3, 3, 2]
    """
    count = high - low
    folded = (index - low) % (2 * count)
    return low + np.where(folded < count, folded, 2 * count - 1 - folded)


def nearest_steps(
    on: LevelMap, limits: npt.NDArray[np.float64], begin: VoxelIndex, shape: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return the table of `csc_data.loader.sources.gathering.labels.label_along_axes`; see `linear_steps`.

    Parameters
    ----------
    on, begin, shape
        As for `linear_steps`.
    limits : ndarray of float64
        From `known_limits`.
    """
    steps = []
    strides = (shape[1] * shape[2], shape[2], 1)
    for positions, axis in zip(on.positions or (), on.axes, strict=True):
        # On the border of two voxels a position falls to the later one.
        at = positions + (0.5 + TOLERANCE)
        known = (at >= limits[0, axis]) & (at < limits[1, axis])
        steps.append(np.where(known, (np.floor(at).astype(np.int64) - begin[axis]) * strides[axis], -1))
    return np.concatenate(steps)


def known_limits(grid: Grid, raw: Roi) -> npt.NDArray[np.float64]:
    """Return the first and one after the last position, half a voxel added, that is in a grid and in raw's bounds.

    Shape (2, 3), in voxels of the grid.

    Examples
    --------
    >>> from csc_data import Grid, Roi
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> known_limits(grid, Roi([0, 0, 0], [40, 80, 80])).tolist()
    [[0.0, 0.0, 0.0], [5.0, 10.0, 10.0]]
    """
    voxel, first = np.asarray(grid.voxel_size), np.asarray(grid.bounds.begin)
    limits = np.stack([(np.asarray(raw.begin) - first) / voxel, (np.asarray(raw.end) - first) / voxel])
    # Borders that coincide but for rounding do.
    whole = np.rint(limits)
    limits = np.where(np.abs(limits - whole) < TOLERANCE, whole, limits)
    return np.stack([np.maximum(limits[0], 0.0), np.minimum(limits[1], grid.shape)])


def covered_box(on: LevelMap, limits: npt.NDArray[np.float64]) -> tuple[VoxelIndex, VoxelIndex]:
    """Return the voxels of a grid that a patch reaches, of those that are known.

    Examples
    --------
    >>> from csc_data import Grid
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> volume = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> on = LevelMap(PatchMap(centre=np.array([0.0, 40.0, 40.0])), ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8)), volume)
    >>> begin, end = covered_box(on, known_limits(volume, volume.bounds))
    >>> begin.tolist(), end.tolist()
    ([0, 2, 2], [3, 8, 8])
    """
    begin = np.maximum(np.floor(on.low + 0.5).astype(np.int64) - 1, np.floor(limits[0]).astype(np.int64))
    end = np.minimum(np.floor(on.high + 0.5).astype(np.int64) + 2, np.ceil(limits[1]).astype(np.int64))
    return begin, end


def read_level_box(level: Level, begin: VoxelIndex, end: VoxelIndex) -> npt.NDArray[Any]:
    """Return a box of a level, contiguous.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2, 2, 2))
    >>> level = Level(name="s0", grid=grid, array=np.arange(8).reshape(2, 2, 2))
    >>> read_level_box(level, np.array([1, 0, 0]), np.array([2, 2, 1])).tolist()
    [[[4], [6]]]
    """
    z, y, x = (slice(int(b), int(e)) for b, e in zip(begin, end, strict=True))
    return np.ascontiguousarray(level.array[z, y, x])


def reflected_box(low: VoxelIndex, high: VoxelIndex, faces: npt.NDArray[np.int64]) -> tuple[VoxelIndex, VoxelIndex]:
    """Return the voxels that stand for a box where raw is mirrored at its faces.

    Examples
    --------
    >>> faces = np.array([[0, 0, 0], [10, 10, 10]])
    >>> begin, end = reflected_box(np.array([-3, 2, 2]), np.array([2, 5, 5]), faces)
    >>> begin.tolist(), end.tolist()
    ([0, 2, 2], [4, 5, 5])
    """
    first, last = faces
    begin, end = np.maximum(low, first), np.minimum(high, last)
    if np.array_equal(begin, low) and np.array_equal(end, high):
        return begin, end
    size = last - first
    end = np.where(low < first, np.maximum(end, np.minimum(2 * first - low + 1, last)), end)
    begin = np.where(high > last, np.minimum(begin, np.maximum(2 * last - high - 1, first)), begin)
    # Further away than one mirror image raw is mirrored again, and all of it may be needed.
    far = (low < first - size) | (high > last + size) | (begin >= end)
    return np.where(far, first, begin), np.where(far, last, end)
