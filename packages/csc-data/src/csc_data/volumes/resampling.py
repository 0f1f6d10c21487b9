"""Reading an array at the positions of another grid: linear for raw, nearest for labels.

Both grids have the same axes, so interpolation is separable: per axis a list of source indices (nearest), or of
pairs of them with weights (linear). The source is asked only for the box that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid

Order = Literal[0, 1]

ReadBox = Callable[[tuple[slice, slice, slice]], npt.NDArray[Any]]
"""Returns the voxels of a box that lies within the source."""


def resample(read_box: ReadBox, source: Grid, target: Grid, order: Order, fill: float = 0) -> npt.NDArray[Any]:
    """Sample a source at the voxel centres of a target grid.

    Parameters
    ----------
    read_box : callable
        Gives the source voxels of a box of slices, all within ``source.shape``.
    source, target : Grid
        The grid of the source and the one to sample at.
    order : {0, 1}
        0 takes the voxel that a position lies in (half-open: on a border the later one), 1 interpolates linearly
        between the centres around it.
    fill : float
        Value outside the bounds of the source. Between its bounds and its outermost centres the edge value holds.

    Returns
    -------
    ndarray
        Shape ``target.shape`` in the dtype of the source. Linear values of integer sources are rounded (half to even).

    Raises
    ------
    InvalidArgumentError
        If the order is neither 0 nor 1.

    Examples
    --------
    >>> from csc_data import Grid
    >>> values = np.array([[[0, 10]]])
    >>> stored = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(1, 1, 2))
    >>> finer = Grid(voxel_size=(8, 8, 4), translation=(0, 0, -2), shape=(1, 1, 4))
    >>> resample(values.__getitem__, stored, finer, order=0).tolist()
    [[[0, 0, 10, 10]]]
    >>> resample(values.__getitem__, stored, finer, order=1).tolist()
    [[[0, 2, 8, 10]]]
    """
    if order not in (0, 1):
        raise InvalidArgumentError(f"order must be 0 (nearest) or 1 (linear), got {order!r}")
    if target.is_aligned_with(source):
        return _window(read_box, source, target, fill)
    index = [target.coordinates_in(source, axis) for axis in range(3)]
    # Half-open bounds: a position on the far face of the last voxel is outside.
    inside = [np.flatnonzero((i >= -0.5) & (i < n - 0.5)) for i, n in zip(index, source.shape, strict=True)]
    if any(len(i) == 0 for i in inside):
        empty = read_box((slice(0, 0), slice(0, 0), slice(0, 0)))
        return np.full(target.shape, fill, dtype=empty.dtype)
    spans = [slice(int(i[0]), int(i[-1]) + 1) for i in inside]
    local = [i[s] for i, s in zip(index, spans, strict=True)]
    values = _nearest(read_box, local) if order == 0 else _linear(read_box, local, source)
    if values.shape == target.shape:
        return values
    out = np.full(target.shape, fill, dtype=values.dtype)
    out[tuple(spans)] = values
    return out


def _window(read_box: ReadBox, source: Grid, target: Grid, fill: float) -> npt.NDArray[Any]:
    """Return the voxels of a grid whose centres are those of the source: no arithmetic, bit for bit."""
    begin = [
        round((t - s) / v) for t, s, v in zip(target.translation, source.translation, source.voxel_size, strict=True)
    ]
    first = [min(max(b, 0), n) for b, n in zip(begin, source.shape, strict=True)]
    last = [min(max(b + m, 0), n) for b, m, n in zip(begin, target.shape, source.shape, strict=True)]
    empty = any(a >= b for a, b in zip(first, last, strict=True))
    z, y, x = [slice(0, 0)] * 3 if empty else [slice(a, b) for a, b in zip(first, last, strict=True)]
    values = read_box((z, y, x))
    if values.shape == target.shape:
        return values
    out = np.full(target.shape, fill, dtype=values.dtype)
    if not empty:
        out[tuple(slice(a - b, c - b) for a, b, c in zip(first, begin, last, strict=True))] = values
    return out


def _nearest(read_box: ReadBox, index: list[npt.NDArray[np.float64]]) -> npt.NDArray[Any]:
    gather = [np.floor(i + 0.5).astype(np.intp) for i in index]
    values = read_box(_box(gather, gather))
    for axis, i in enumerate(gather):
        values = _take(values, i - i[0], axis)
    return values


def _linear(read_box: ReadBox, index: list[npt.NDArray[np.float64]], source: Grid) -> npt.NDArray[Any]:
    clipped = [np.clip(i, 0, n - 1) for i, n in zip(index, source.shape, strict=True)]
    low = [np.floor(i).astype(np.intp) for i in clipped]
    high = [np.minimum(i + 1, n - 1) for i, n in zip(low, source.shape, strict=True)]
    weight = [i - j for i, j in zip(clipped, low, strict=True)]
    if all(not w.any() for w in weight):  # every position is a centre: no arithmetic, bit for bit
        values = read_box(_box(low, low))
        for axis, i in enumerate(low):
            values = _take(values, i - i[0], axis)
        return values
    stored = read_box(_box(low, high))
    values = stored.astype(np.float64 if stored.dtype.itemsize > 2 else np.float32)
    for axis in range(3):
        first = low[axis][0]
        lower = _take(values, low[axis] - first, axis)
        if weight[axis].any():
            share = weight[axis].astype(values.dtype).reshape([-1 if a == axis else 1 for a in range(3)])
            lower = lower + (_take(values, high[axis] - first, axis) - lower) * share
        values = lower
    if np.issubdtype(stored.dtype, np.floating):
        return values.astype(stored.dtype)
    return np.rint(values).astype(stored.dtype)


def _box(low: list[npt.NDArray[np.intp]], high: list[npt.NDArray[np.intp]]) -> tuple[slice, slice, slice]:
    z, y, x = (slice(int(a[0]), int(b[-1]) + 1) for a, b in zip(low, high, strict=True))
    return z, y, x


def _take(values: npt.NDArray[Any], index: npt.NDArray[np.intp], axis: int) -> npt.NDArray[Any]:
    """Gather along an axis, by a view where the indices are a plain step."""
    steps = np.diff(index)
    if len(index) == values.shape[axis] and index[0] == 0 and np.all(steps == 1):
        return values
    if len(steps) and steps[0] > 0 and np.all(steps == steps[0]):
        stop = int(index[-1]) + 1
        return values[tuple(slice(int(index[0]), stop, int(steps[0])) if a == axis else slice(None) for a in range(3))]
    return np.take(values, index, axis=axis)
