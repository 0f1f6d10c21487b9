"""Compiled loops of the targets: distances to what differs, and affinities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import compiled

_BLOCK = 512
_PATIENCE = 4  # steps between two looks at whether a farther voxel can still matter


@compiled()
def square_distances_in_rows(
    labels: npt.NDArray[Any], steps: npt.NDArray[np.float32], far: np.float32, margin: int
) -> npt.NDArray[np.float32]:
    """Return along x, for each voxel, the squared distance to the next voxel with another label.

    Parameters
    ----------
    labels : ndarray
        Integers, shape (rows, n).
    steps : ndarray
        ``steps[k]``: squared distance from a centre to the voxel that is k voxels away.
    far : float
        Result where no voxel within ``len(steps) - 1`` has another label.
    margin : int
        Voxels at both ends that are looked at but left out of the result.

    Returns
    -------
    ndarray
        float32, shape (rows, n - 2 * margin).
    """
    rows, length = labels.shape
    reach = len(steps) - 1
    out = np.empty((rows, length - 2 * margin), dtype=np.float32)
    for r in range(rows):
        row, target = labels[r], out[r]
        last = -length - reach
        for x in range(1, length - margin):
            if row[x] != row[x - 1]:
                last = x - 1
            if x >= margin:
                target[x - margin] = steps[x - last] if x - last <= reach else far
        if margin == 0:
            target[0] = far
        following = 2 * length + reach
        for x in range(length - 2, margin - 1, -1):
            if row[x] != row[x + 1]:
                following = x + 1
            if x < length - margin and following - x <= reach:
                target[x - margin] = min(target[x - margin], steps[following - x])
    return out


@compiled()
def extend_square_distances(
    labels: npt.NDArray[Any], field: npt.NDArray[np.float32], steps: npt.NDArray[np.float32], margin: int
) -> npt.NDArray[np.float32]:
    """Take one more axis into account: the middle one of (outer, n, inner).

    A voxel k further along the axis differs itself, or knows how far what differs from it is along the axes before;
    as far as it matters, that also differs from the voxel that looks.

    Parameters
    ----------
    labels : ndarray
        Integers, shape (outer, n, inner).
    field : ndarray
        Squared distances along the axes before; float32, of the same shape.
    steps, margin
        As for `square_distances_in_rows`, along this axis.

    Returns
    -------
    ndarray
        float32, shape (outer, n - 2 * margin, inner).
    """
    outer, length, inner = labels.shape
    reach = len(steps) - 1
    nothing = np.float32(0)
    out = np.empty((outer, length - 2 * margin, inner), dtype=np.float32)
    for a in range(outer):
        for begin in range(0, inner, _BLOCK):
            end = min(inner, begin + _BLOCK)
            for i in range(margin, length - margin):
                target = out[a, i - margin, begin:end]
                own = labels[a, i, begin:end]
                source = field[a, i, begin:end]
                worst = nothing
                for b in range(end - begin):
                    target[b] = source[b]
                    worst = max(worst, source[b])
                for k in range(1, reach + 1):
                    step = steps[k]
                    if step >= worst:
                        break
                    for j in (i - k, i + k):
                        if j < 0 or j >= length:
                            continue
                        other = labels[a, j, begin:end]
                        source = field[a, j, begin:end]
                        for b in range(end - begin):
                            target[b] = min(target[b], step + (source[b] if other[b] == own[b] else nothing))
                    if k % _PATIENCE == 0:
                        worst = nothing
                        for b in range(end - begin):
                            worst = max(worst, target[b])
    return out


@compiled()
def affinities(
    labels: npt.NDArray[Any],
    unknown: int,
    begin: tuple[int, int, int],
    offset: tuple[int, int, int],
    out: npt.NDArray[np.float32],
) -> None:
    """Write 1 where a voxel and the one at an offset are of one object, 0 where not, NaN where one is unknown.

    Parameters
    ----------
    labels : ndarray
        Integers, shape (z, y, x): 0 where there is no object.
    unknown : int
        The label that says unknown.
    begin : tuple of int
        Where the first voxel of ``out`` lies in ``labels``.
    offset : tuple of int
        In voxels; must not lead out of ``labels``.
    out : ndarray
        float32, shape (z, y, x).
    """
    depth, height, width = out.shape
    for z in range(depth):
        for y in range(height):
            first = labels[begin[0] + z, begin[1] + y, begin[2] : begin[2] + width]
            far_begin = begin[2] + offset[2]
            second = labels[begin[0] + z + offset[0], begin[1] + y + offset[1], far_begin : far_begin + width]
            target = out[z, y]
            for x in range(width):
                value = np.float32(1) if first[x] == second[x] and first[x] != 0 else np.float32(0)
                target[x] = np.float32(np.nan) if first[x] == unknown or second[x] == unknown else value
