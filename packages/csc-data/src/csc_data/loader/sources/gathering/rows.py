"""What the compiled loops share: positions along a row of a patch, exact, and the mirror at the faces of raw.

Positions are integers, multiples of 2^-32 voxels of the source, so steps along a row are exact; weights are their next
16 bits. A voxel of a patch is the same to the last bit whichever box of the volume was read, and is held, for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from csc_data.geometry import TOLERANCE
from csc_data.loader.compilation import compiled

ONE = 4294967296.0
"""A voxel in the unit of positions."""

ROUNDING = 0.5 / 65536
"""Half a step of the weights: cut off after it was added, positions round, so noise of arithmetic is lost."""

TO_CUT_OFF = 0.5 + TOLERANCE
"""Half a voxel, so that cutting off rounds; and the tolerance, so that a position on the border of two voxels always
falls to the later one."""

FRACTION = np.float32(1 / 65536)

NO_DISPLACEMENT = np.empty((3, 0, 0, 0), dtype=np.float32)

_MARGIN = 1e-5  # voxels from the ends of a box, so that no rounding leads beyond them


@compiled()
def clip_to_interior(begin: float, end: float, start: float, step: float, last: float) -> tuple[float, float]:
    """Shrink a range of steps to those whose coordinate ``start + step * x`` lies in 0 to last, and not on an end."""
    if step > 1e-12:
        return max(begin, (_MARGIN - start) / step), min(end, (last - _MARGIN - start) / step)
    if step < -1e-12:
        return max(begin, (last - _MARGIN - start) / step), min(end, (_MARGIN - start) / step)
    if start < _MARGIN or start > last - _MARGIN:
        return begin, -1.0
    return begin, end


@compiled()
def mirrored(index: int, low: int, high: int) -> int:
    """Return the voxel that stands for one beyond low to high: the mirrors are the outer faces of the outermost."""
    count = high - low
    folded = (index - low) % (2 * count)
    return low + (folded if folded < count else 2 * count - 1 - folded)


@compiled()
def bend_row(
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    z: int,
    y: int,
    line: npt.NDArray[np.float64],
) -> None:
    """Interpolate the displacement at the z and y of a row of a patch, at the points of its grid along x.

    Between two of these points it is linear in x, so a row of a bent patch consists of straight pieces.

    Parameters
    ----------
    displacement : ndarray of float32
        Shape (3, z, y, x): voxels of the source to go further, on a coarse grid.
    place : ndarray of float64
        Shape (3, 2): factor and offset from voxels of the patch to that grid.
    z, y : int
        The row.
    line : ndarray of float64
        Shape (3, x); is filled.
    """
    counts = displacement.shape
    u0 = min(max(place[0, 0] * z + place[0, 1], 0.0), counts[1] - 1.0)
    u1 = min(max(place[1, 0] * y + place[1, 1], 0.0), counts[2] - 1.0)
    i0, i1 = min(int(u0), max(counts[1] - 2, 0)), min(int(u1), max(counts[2] - 2, 0))
    j0, j1 = min(i0 + 1, counts[1] - 1), min(i1 + 1, counts[2] - 1)
    f0, f1 = u0 - i0, u1 - i1
    for axis in range(3):
        values = displacement[axis]
        for x in range(counts[3]):
            near = values[i0, i1, x] + (values[i0, j1, x] - values[i0, i1, x]) * f1
            far = values[j0, i1, x] + (values[j0, j1, x] - values[j0, i1, x]) * f1
            line[axis, x] = near + (far - near) * f0


@compiled()
def straight_piece(
    line: npt.NDArray[np.float64], place: npt.NDArray[np.float64], x: int, count: int, bend: npt.NDArray[np.float64]
) -> int:
    """Return where the straight piece that begins at a voxel of a row ends, and fill in its bend.

    Parameters
    ----------
    line, place
        From, and as for, `bend_row`.
    x, count : int
        The first voxel of the piece; the voxels of the row.
    bend : ndarray of float64
        Shape (2, 3), is filled: at voxel x the displacement is ``bend[0] + bend[1] * x``.
    """
    points = line.shape[1]
    if points < 2:
        for axis in range(3):
            bend[0, axis], bend[1, axis] = line[axis, 0], 0.0
        return count
    factor, offset = place[2, 0], place[2, 1]
    cell = min(max(int(factor * x + offset), 0), points - 2)
    for axis in range(3):
        rise = line[axis, cell + 1] - line[axis, cell]
        bend[0, axis] = line[axis, cell] + (offset - cell) * rise
        bend[1, axis] = factor * rise
    if cell == points - 2:
        return count
    return max(x + 1, min(count, int(np.ceil((cell + 1 - offset) / factor))))
