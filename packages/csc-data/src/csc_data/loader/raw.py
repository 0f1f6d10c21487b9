"""Raw intensities for a network: read linearly, continued beyond the volume, scaled by a rule that is stored.

Training and prediction both go through here, so a network sees in a test crop what it saw while it learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.volumes import Volume

DEFAULT_RANGE = (0.0, 1.0)


def scale_raw(values: npt.NDArray[Any], raw_range: Sequence[float] = DEFAULT_RANGE) -> npt.NDArray[np.float32]:
    """Map the range of the stored type to the range that a network is trained with.

    Parameters
    ----------
    values : ndarray
        Integers use the whole range of their type (0 and 255 for uint8); floats are taken to lie in 0 to 1.
    raw_range : pair of float
        What the ends of that range become: (0, 1), or (0, 255) for networks that were trained on unscaled uint8.

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
    >>> scale_raw(np.array([0, 51, 255], dtype=np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if len(raw_range) != 2 or not raw_range[0] < raw_range[1]:
        raise InvalidArgumentError(f"raw_range must be two numbers, the first smaller, got {tuple(raw_range)}")
    low, high = map(float, raw_range)
    least, most = 0.0, 1.0
    if np.issubdtype(values.dtype, np.integer):
        least, most = float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)
    factor = (high - low) / (most - least)
    scaled = values.astype(np.float32)
    if factor != 1:
        scaled *= np.float32(factor)
    offset = low - least * factor
    if offset:
        scaled += np.float32(offset)
    return scaled


def read_raw(volume: Volume, grid: Grid) -> npt.NDArray[Any]:
    """Read raw at the voxel centres of a lattice, linearly; beyond the volume it is mirrored.

    The mirror stands at the face of the outermost voxel of the *lattice* that lies in the volume, so a value depends on
    the lattice alone, not on how much of it is read at a time.

    Parameters
    ----------
    volume : Volume
    grid : Grid
        May reach beyond the volume; where nothing of it lies in the volume along an axis, the values are 0.

    Returns
    -------
    ndarray
        Shape ``grid.shape``, in the stored dtype.
    """
    source = volume.level_for(grid.voxel_size).grid
    begin, shape, pad, keep = [], [], [], []
    for axis in range(3):
        index = grid.coordinates_in(source, axis)
        inside = np.flatnonzero((index >= -0.5) & (index < source.shape[axis] - 0.5))
        if len(inside) == 0:
            return volume.read(grid, order=1)
        first, last, n = int(inside[0]), int(inside[-1]), grid.shape[axis]
        before, after = first, n - 1 - last
        # Mirroring d voxels needs d voxels inside; where the lattice ends earlier, a little more of it is read.
        extended_first, extended_last = first, last
        if before:
            extended_last = max(last, min(first + before - 1, _last_inside(grid, source, axis)))
        if after:
            extended_first = min(first, max(last - after + 1, _first_inside(grid, source, axis)))
        begin.append(extended_first)
        shape.append(extended_last - extended_first + 1)
        pad.append((before, after))
        offset = 0 if before else first - extended_first
        keep.append(slice(offset, offset + n))
    if not any(map(any, pad)):
        return volume.read(grid, order=1)
    values = volume.read(grid.window(begin, shape), order=1)
    mirrored: npt.NDArray[Any] = np.pad(values, pad, mode="symmetric")[tuple(keep)]
    return mirrored


def _last_inside(grid: Grid, source: Grid, axis: int) -> int:
    """Return the index, in a lattice that goes on forever, of its last centre within the source."""
    end = source.bounds.end[axis]
    count = int(np.ceil((end - grid.translation[axis]) / grid.voxel_size[axis]))
    probe = grid.window([count - 3] * 3, [4] * 3).coordinates_in(source, axis)
    return count - 3 + int(np.flatnonzero(probe < source.shape[axis] - 0.5)[-1])


def _first_inside(grid: Grid, source: Grid, axis: int) -> int:
    """Return the index, in a lattice that goes on forever, of its first centre within the source."""
    begin = source.bounds.begin[axis]
    count = int(np.floor((begin - grid.translation[axis]) / grid.voxel_size[axis]))
    probe = grid.window([count - 1] * 3, [4] * 3).coordinates_in(source, axis)
    return count - 1 + int(np.flatnonzero(probe >= -0.5)[0])
