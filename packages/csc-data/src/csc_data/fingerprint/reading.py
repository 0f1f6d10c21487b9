"""Reads what a fingerprint needs of a crop, never more than so many voxels at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.fingerprint.objects import MeasuredObjects, measure_objects, measure_thickness
from csc_data.geometry import Grid, Shape, Triple, as_shape
from csc_data.splits.annotations import AnnotatedCrop, EncodedArray, unite_codes
from csc_data.volumes import Volume, downsampled_grid
from csc_data.volumes.annotation_values import PRESENT, UNKNOWN, Codes

_SLAB_VOXELS = 1 << 22  # of the stored level that are decoded at once, roughly
_WINDOW = (96, 96, 96)  # voxels of the finest level in which thickness is measured: a second of work at most
_GREY_VOXELS = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """One class of one crop, seen whole.

    Attributes
    ----------
    voxel_size : tuple of float
        nm, at which it was looked at.
    known, present : int
        Voxels of that size.
    objects : MeasuredObjects
    place : tuple of float or None
        nm position of one of its voxels, in the middle of all in the order of storage; None without any.
    """

    voxel_size: Triple
    known: int
    present: int
    objects: MeasuredObjects
    place: Triple | None


def overview_grid(volume: Volume, most_voxels: int) -> Grid:
    """Return the grid of the finest level with at most so many voxels; of the coarsest, thinned out, if none is.

    Parameters
    ----------
    volume : Volume
    most_voxels : int

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, open_volume, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(32, 32, 32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_multiscale(f"{folder}/mito", [np.zeros((32, 32, 32), np.uint8)], [grid])
    ...     overview_grid(open_volume(f"{folder}/mito"), most_voxels=4096)
    Grid(voxel_size=(16.0, 16.0, 16.0), translation=(4.0, 4.0, 4.0), shape=(16, 16, 16))
    """
    for level in volume.levels:
        if level.grid.size <= most_voxels:
            return level.grid
    grid = volume.levels[-1].grid
    step = math.ceil((grid.size / most_voxels) ** (1 / 3))
    return downsampled_grid(grid, [max(1, min(step, n)) for n in grid.shape])


def look_at(crop: AnnotatedCrop, name: str, most_voxels: int) -> ClassView:
    """Look at all of a crop's class, as finely as that many voxels allow.

    Raises
    ------
    UnreadableDataError
        If a chunk cannot be read.
    """
    volumes = crop.labels[name]
    grid = overview_grid(volumes[0], most_voxels)
    if name in crop.table.instances and len(volumes) == 1:
        labels, codes = _read_ids(volumes[0], grid)
    else:
        codes = unite_codes(volumes, lambda volume: _read_slabs(volume, grid, UNKNOWN))
        labels = codes == PRESENT
    present = np.flatnonzero(codes == PRESENT)
    place = None
    if len(present):
        index = np.unravel_index(int(present[len(present) // 2]), codes.shape)
        z, y, x = (t + int(i) * v for t, i, v in zip(grid.translation, index, grid.voxel_size, strict=True))
        place = (z, y, x)
    return ClassView(
        voxel_size=grid.voxel_size,
        known=int(np.count_nonzero(codes != UNKNOWN)),
        present=len(present),
        objects=measure_objects(labels, grid.voxel_size),
        place=place,
    )


def thickness_around(crop: AnnotatedCrop, name: str, place: Triple) -> float | None:
    """Return how thick a class is around a place in nm, at the finest level; None if its surface is not near."""
    volumes = crop.labels[name]
    finest = volumes[0].levels[0].grid
    begin, shape = _window(finest, place)
    codes = unite_codes(volumes, lambda volume: volume.read(finest.window(begin, shape), 0, fill=UNKNOWN))
    return measure_thickness(codes == PRESENT, finest.voxel_size)


def sample_grey(crop: AnnotatedCrop) -> npt.NDArray[Any]:
    """Return raw values at places spread over a crop."""
    raw = crop.raw.levels[0].grid
    coarser = max(1.0, (math.prod(crop.bounds.extent) / math.prod(raw.voxel_size) / _GREY_VOXELS) ** (1 / 3))
    grid = Grid.covering(crop.bounds.intersect(raw.bounds), [v * coarser for v in raw.voxel_size])
    return crop.raw.read(grid, 0)


def _window(grid: Grid, place: Triple) -> tuple[Shape, Shape]:
    """Return the first voxel and the shape of a window within a grid, around a place where that can be."""
    shape = [min(n, w) for n, w in zip(grid.shape, _WINDOW, strict=True)]
    begin = [
        min(max(0, round((p - t) / v) - w // 2), n - w)
        for p, t, v, w, n in zip(place, grid.translation, grid.voxel_size, shape, grid.shape, strict=True)
    ]
    return as_shape(begin), as_shape(shape)


def _read_ids(volume: Volume, grid: Grid) -> tuple[npt.NDArray[Any], Codes]:
    """Return the stored ids, 0 where a class is not present, and the codes."""
    arrays = [level.array for level in volume.levels if isinstance(level.array, EncodedArray)]
    stored = replace(
        volume,
        levels=tuple(replace(level, array=array.array) for level, array in zip(volume.levels, arrays, strict=True)),
    )
    ids = _read_slabs(stored, grid, 0)
    codes = arrays[0].encoding.encode(ids)
    return np.where(codes == PRESENT, ids, 0), codes


def _read_slabs(volume: Volume, grid: Grid, fill: int) -> npt.NDArray[Any]:
    """Read a grid some planes at a time: where it is thinned out, more is decoded than is kept."""
    level = volume.level_for(grid.voxel_size).grid
    share = math.prod(v / w for v, w in zip(grid.voxel_size, level.voxel_size, strict=True))
    depth, height, width = grid.shape
    step = max(1, int(_SLAB_VOXELS / max(1.0, height * width * share)))
    slabs: Sequence[npt.NDArray[Any]] = [
        volume.read(grid.window((z, 0, 0), (min(step, depth - z), height, width)), 0, fill)
        for z in range(0, depth, step)
    ]
    return np.concatenate(slabs)
