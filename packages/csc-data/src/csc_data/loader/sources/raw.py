"""Raw intensities for a network: read linearly, continued beyond the volume, scaled by a rule that is stored.

Training and prediction both go through here, so a network sees in a test crop what it saw while it learnt.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.volumes import Volume

DEFAULT_RANGE = (0.0, 1.0)


def scale_raw(
    values: npt.NDArray[Any], raw_range: Sequence[float] = DEFAULT_RANGE, *, stored: np.dtype[Any] | None = None
) -> npt.NDArray[np.float32]:
    """Map the range of the stored type to the range that a network is trained with.

    Parameters
    ----------
    values : ndarray
        Integers use the whole range of their type (0 and 255 for uint8); floats are taken to lie in 0 to 1.
    raw_range : pair of float
        What the ends of that range become: (0, 1), or (0, 255) for networks that were trained on unscaled uint8.
    stored : dtype, optional
        The stored type, where values were cast since.

    Returns
    -------
    ndarray
        float32, of the same shape.

    Raises
    ------
    InvalidArgumentError
        If the range is not two numbers, the first smaller.

    Examples
    --------
    >>> scale_raw(np.array([0, 255], dtype=np.uint8))
    array([0., 1.], dtype=float32)
    """
    if len(raw_range) != 2 or not raw_range[0] < raw_range[1]:
        raise InvalidArgumentError(f"raw_range must be two numbers, the first smaller, got {tuple(raw_range)}")
    low, high = map(float, raw_range)
    least, most = 0.0, 1.0
    dtype = values.dtype if stored is None else stored
    if np.issubdtype(dtype, np.integer):
        least, most = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    factor = (high - low) / (most - least)
    scaled = values.astype(np.float32)
    if factor != 1:
        scaled *= np.float32(factor)
    offset = low - least * factor
    if offset:
        scaled += np.float32(offset)
    return scaled


@functools.lru_cache(maxsize=64)
def lookup_table(dtype: np.dtype[Any], raw_range: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return what each value of a small unsigned type becomes by `scale_raw`; empty for other types."""
    if dtype.kind != "u" or dtype.itemsize > 2:
        return np.empty(0, dtype=np.float32)
    return scale_raw(np.arange(np.iinfo(dtype).max + 1, dtype=dtype), raw_range)


def read_raw(volume: Volume, grid: Grid) -> npt.NDArray[Any]:
    """Read raw at the voxel centres of a grid, linearly; beyond the volume it is mirrored.

    The mirrors stand at the faces of the outermost voxels of the *grid* that lie in the volume, so a value depends
    on the grid alone, not on how much of it is read at a time.

    Parameters
    ----------
    volume : Volume
    grid : Grid
        May reach beyond the volume, or lie beside it.

    Returns
    -------
    ndarray
        Shape ``grid.shape``, in the stored dtype; 0 where the volume is too thin to hold a voxel of the grid.
    """
    source = volume.level_for(grid.voxel_size).grid
    if source.bounds.contains(grid.bounds):
        return volume.read(grid, order=1)
    begin, shape, gather = [], [], []
    for axis in range(3):
        first, count = _inside(grid, source, axis)
        if count == 0:
            return volume.read(grid, order=1)
        index = (np.arange(grid.shape[axis]) - first) % (2 * count)
        index = np.where(index < count, index, 2 * count - 1 - index) + first
        low = int(index.min()) if len(index) else first
        begin.append(low)
        shape.append(int(index.max()) - low + 1 if len(index) else 0)
        gather.append(index - low)
    values = volume.read(grid.window(begin, shape), order=1)
    for axis, index in enumerate(gather):
        if len(index) != values.shape[axis] or np.any(np.diff(index) != 1):
            values = np.take(values, index, axis=axis)
    return values


def _inside(grid: Grid, source: Grid, axis: int) -> tuple[int, int]:
    """Return which voxels of a grid lie in a source, as if the grid went on forever: the first, and how many."""
    ratio = grid.voxel_size[axis] / source.voxel_size[axis]
    # One voxel more on both sides than rounding could miss; then the grid itself decides.
    first = math.floor((source.bounds.begin[axis] - grid.translation[axis]) / grid.voxel_size[axis]) - 1
    window = grid.window([first] * 3, [math.ceil(source.shape[axis] / ratio) + 4] * 3)
    index = window.coordinates_in(source, axis)
    inside = np.flatnonzero((index >= -0.5) & (index < source.shape[axis] - 0.5))
    return (first + int(inside[0]), len(inside)) if len(inside) else (0, 0)
