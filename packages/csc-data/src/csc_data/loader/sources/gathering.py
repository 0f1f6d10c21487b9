"""Compiled loops: gathering raw linearly and labels by nearest neighbour at the positions of an affine map.

Positions are voxel coordinates of the source: ``m @ index + t``, plus a displacement that is given on a coarse grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import TOLERANCE
from csc_data.loader.compilation import FAST, compiled

# Half a voxel, so that cutting off rounds; and the tolerance, so that a position on the border of two voxels always
# falls to the later one.
_TO_CUT_OFF = 0.5 + TOLERANCE

# Distance in voxels from the ends of a box, so that no rounding leads beyond them.
_MARGIN = 1e-5

# Within rows coordinates are integers, multiples of 2^-32 voxels: steps are exact, and a sample is the same to the
# last bit whichever box of the volume is read. What happens to be cached must not change a sample.
_ONE = 4294967296.0
_FRACTION = np.float32(1 / 65536)

NO_DISPLACEMENT = np.empty((3, 0, 0, 0), dtype=np.float32)


@compiled()
def _clip_to_interior(begin: float, end: float, start: float, step: float, last: float) -> tuple[float, float]:
    """Shrink a range of steps to those whose coordinate ``start + step * x`` lies in 0 to last, and not on an end."""
    if step > 1e-12:
        return max(begin, (_MARGIN - start) / step), min(end, (last - _MARGIN - start) / step)
    if step < -1e-12:
        return max(begin, (last - _MARGIN - start) / step), min(end, (_MARGIN - start) / step)
    if start < _MARGIN or start > last - _MARGIN:
        return begin, -1.0
    return begin, end


@compiled()
def _reflect(coordinate: float, count: int) -> float:
    """Mirror a coordinate at the outer faces of the first and the last voxel, then keep it between their centres."""
    period = 2.0 * count
    folded = (coordinate + 0.5) % period
    if folded > count:
        folded = period - folded
    return min(max(folded - 0.5, 0.0), count - 1.0)


@compiled()
def _displace_row(
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    z: int,
    y: int,
    row: npt.NDArray[np.float32],
) -> None:
    """Interpolate the displacement of a row of voxels; ``place`` holds factor and offset from voxels to the grid."""
    counts = displacement.shape
    u0 = min(max(place[0, 0] * z + place[0, 1], 0.0), counts[1] - 1.0)
    u1 = min(max(place[1, 0] * y + place[1, 1], 0.0), counts[2] - 1.0)
    i0, i1 = min(int(u0), max(counts[1] - 2, 0)), min(int(u1), max(counts[2] - 2, 0))
    j0, j1 = min(i0 + 1, counts[1] - 1), min(i1 + 1, counts[2] - 1)
    f0, f1 = np.float32(u0 - i0), np.float32(u1 - i1)
    for x in range(row.shape[1]):
        u2 = min(max(place[2, 0] * x + place[2, 1], 0.0), counts[3] - 1.0)
        i2 = min(int(u2), max(counts[3] - 2, 0))
        j2 = min(i2 + 1, counts[3] - 1)
        f2 = np.float32(u2 - i2)
        for axis in range(3):
            values = displacement[axis]
            near = values[i0, i1, i2] + (values[i0, i1, j2] - values[i0, i1, i2]) * f2
            far = values[i0, j1, i2] + (values[i0, j1, j2] - values[i0, j1, i2]) * f2
            upper = near + (far - near) * f1
            near = values[j0, i1, i2] + (values[j0, i1, j2] - values[j0, i1, i2]) * f2
            far = values[j0, j1, i2] + (values[j0, j1, j2] - values[j0, j1, i2]) * f2
            row[axis, x] = upper + (near + (far - near) * f1 - upper) * f0


@compiled(fastmath=FAST)
def gather_linear(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    lookup: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Interpolate raw at the voxels of a patch.

    Parameters
    ----------
    source : ndarray
        The box of the volume that is needed, contiguous.
    begin, size : ndarray of int64
        Where the box begins in the volume, and the volume's own shape, at whose faces raw is mirrored.
    m, t : ndarray of float64
        The map from voxels of the patch to coordinates in the volume, shapes (3, 3) and (3,).
    displacement : ndarray of float32
        Shape (3, ...): voxels of the volume to go further, on a coarse grid; `NO_DISPLACEMENT` for none.
    place : ndarray of float64
        Shape (3, 2): factor and offset from voxels of the patch to that grid.
    lookup : ndarray of float32
        What each value, rounded, becomes; empty to keep values.
    out : ndarray of float32
        Shape of the patch; is filled.
    """
    flat = source.reshape(-1)
    plane, line = source.shape[1] * source.shape[2], source.shape[2]
    displaced = displacement.shape[1] > 0
    row = np.zeros((3, out.shape[2] if displaced else 1), dtype=np.float32)
    lookups = lookup.shape[0] > 0
    half = np.float32(0.5)
    one, step1, step0 = np.uintp(1), np.uintp(line), np.uintp(plane)
    s0, s1, s2 = np.int64(m[0, 2] * _ONE), np.int64(m[1, 2] * _ONE), np.int64(m[2, 2] * _ONE)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            c0 = m[0, 0] * z + m[0, 1] * y + t[0]
            c1 = m[1, 0] * z + m[1, 1] * y + t[1]
            c2 = m[2, 0] * z + m[2, 1] * y + t[2]
            first, last = 0.0, float(out.shape[2])
            if displaced:
                _displace_row(displacement, place, z, y, row)
                last = 0.0
            first, last = _clip_to_interior(first, last, c0 - begin[0], m[0, 2], source.shape[0] - 1.0)
            first, last = _clip_to_interior(first, last, c1 - begin[1], m[1, 2], source.shape[1] - 1.0)
            first, last = _clip_to_interior(first, last, c2 - begin[2], m[2, 2], source.shape[2] - 1.0)
            inner = min(int(np.ceil(first)), out.shape[2])
            end = max(inner, min(int(np.floor(last)), out.shape[2]))
            u0 = np.int64(c0 * _ONE) + inner * s0 - (begin[0] << 32)
            u1 = np.int64(c1 * _ONE) + inner * s1 - (begin[1] << 32)
            u2 = np.int64(c2 * _ONE) + inner * s2 - (begin[2] << 32)
            for x in range(inner, end):
                # Unsigned, as numba would ask of each signed index whether it counts from the end.
                k = np.uintp((u0 >> 32) * plane + (u1 >> 32) * line + (u2 >> 32))
                f0 = np.float32(np.int32((u0 >> 16) & 65535)) * _FRACTION
                f1 = np.float32(np.int32((u1 >> 16) & 65535)) * _FRACTION
                f2 = np.float32(np.int32((u2 >> 16) & 65535)) * _FRACTION
                u0, u1, u2 = u0 + s0, u1 + s1, u2 + s2
                a, b = np.float32(flat[k]), np.float32(flat[k + step1])
                near = a + (np.float32(flat[k + one]) - a) * f2
                near += (b + (np.float32(flat[k + step1 + one]) - b) * f2 - near) * f1
                k += step0
                a, b = np.float32(flat[k]), np.float32(flat[k + step1])
                far = a + (np.float32(flat[k + one]) - a) * f2
                far += (b + (np.float32(flat[k + step1 + one]) - b) * f2 - far) * f1
                value = near + (far - near) * f0
                out[z, y, x] = lookup[np.uintp(value + half)] if lookups else value
            for x in range(out.shape[2]):
                if inner <= x < end:
                    continue
                e0, e1, e2 = c0 + m[0, 2] * x, c1 + m[1, 2] * x, c2 + m[2, 2] * x
                if displaced:
                    e0, e1, e2 = e0 + row[0, x], e1 + row[1, x], e2 + row[2, x]
                e0, e1, e2 = _reflect(e0, size[0]), _reflect(e1, size[1]), _reflect(e2, size[2])
                i0, i1, i2 = int(e0), int(e1), int(e2)
                w0, w1, w2 = np.float32(e0 - i0), np.float32(e1 - i1), np.float32(e2 - i2)
                # Clipped, for rounding at the ends of the box.
                l0 = min(max(i0 - begin[0], 0), source.shape[0] - 1)
                l1 = min(max(i1 - begin[1], 0), source.shape[1] - 1)
                l2 = min(max(i2 - begin[2], 0), source.shape[2] - 1)
                h0 = min(l0 + 1, source.shape[0] - 1)
                h1 = min(l1 + 1, source.shape[1] - 1)
                h2 = min(l2 + 1, source.shape[2] - 1)
                a, b = np.float32(source[l0, l1, l2]), np.float32(source[l0, h1, l2])
                near = a + (np.float32(source[l0, l1, h2]) - a) * w2
                near += (b + (np.float32(source[l0, h1, h2]) - b) * w2 - near) * w1
                a, b = np.float32(source[h0, l1, l2]), np.float32(source[h0, h1, l2])
                far = a + (np.float32(source[h0, l1, h2]) - a) * w2
                far += (b + (np.float32(source[h0, h1, h2]) - b) * w2 - far) * w1
                value = near + (far - near) * w0
                out[z, y, x] = lookup[np.uintp(value + half)] if lookups else value


@compiled(fastmath=FAST)
def gather_nearest(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    table: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """Look up labels at the voxels of a patch: each source value stands for one value a channel.

    Parameters
    ----------
    source : ndarray of unsigned int
        A box of the volume, contiguous. What lies outside of it is unknown.
    begin, m, t, displacement, place
        As for `gather_linear`.
    table : ndarray
        Shape (C, P + 1): what each of P source values is in each channel; the last one is unknown.
    out : ndarray
        Shape (C, z, y, x), of the table's type; is filled.
    """
    flat = source.reshape(-1)
    n0, n1, n2 = source.shape
    displaced = displacement.shape[1] > 0
    moved = np.zeros((3, out.shape[3] if displaced else 1), dtype=np.float32)
    row = np.empty(out.shape[3], dtype=np.int32)
    unknown = np.int32(table.shape[1] - 1)
    s0, s1, s2 = np.int64(m[0, 2] * _ONE), np.int64(m[1, 2] * _ONE), np.int64(m[2, 2] * _ONE)
    for z in range(out.shape[1]):
        for y in range(out.shape[2]):
            c0 = m[0, 0] * z + m[0, 1] * y + t[0] + _TO_CUT_OFF
            c1 = m[1, 0] * z + m[1, 1] * y + t[1] + _TO_CUT_OFF
            c2 = m[2, 0] * z + m[2, 1] * y + t[2] + _TO_CUT_OFF
            if displaced:
                _displace_row(displacement, place, z, y, moved)
                inner = end = 0
            else:
                first, last = 0.0, float(out.shape[3])
                first, last = _clip_to_interior(first, last, c0 - begin[0], m[0, 2], n0)
                first, last = _clip_to_interior(first, last, c1 - begin[1], m[1, 2], n1)
                first, last = _clip_to_interior(first, last, c2 - begin[2], m[2, 2], n2)
                inner = min(int(np.ceil(first)), out.shape[3])
                end = max(inner, min(int(np.floor(last)), out.shape[3]))
            u0 = np.int64(c0 * _ONE) + inner * s0 - (begin[0] << 32)
            u1 = np.int64(c1 * _ONE) + inner * s1 - (begin[1] << 32)
            u2 = np.int64(c2 * _ONE) + inner * s2 - (begin[2] << 32)
            for x in range(inner, end):
                row[x] = flat[np.uintp(((u0 >> 32) * n1 + (u1 >> 32)) * n2 + (u2 >> 32))]
                u0, u1, u2 = u0 + s0, u1 + s1, u2 + s2
            for x in range(out.shape[3]):
                if inner <= x < end:
                    continue
                e0, e1, e2 = c0 + m[0, 2] * x, c1 + m[1, 2] * x, c2 + m[2, 2] * x
                if displaced:
                    e0, e1, e2 = e0 + moved[0, x], e1 + moved[1, x], e2 + moved[2, x]
                i0 = int(np.floor(e0)) - begin[0]
                i1 = int(np.floor(e1)) - begin[1]
                i2 = int(np.floor(e2)) - begin[2]
                if 0 <= i0 < n0 and 0 <= i1 < n1 and 0 <= i2 < n2:
                    row[x] = flat[np.uintp((i0 * n1 + i1) * n2 + i2)]
                else:
                    row[x] = unknown
            for channel in range(out.shape[0]):
                values, line = table[channel], out[channel, z, y]
                for x in range(out.shape[3]):
                    line[x] = values[np.uintp(row[x])]


@compiled(fastmath=FAST)
def gather_stored(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    out: npt.NDArray[np.int64],
) -> None:
    """Take the nearest stored whole number at the voxels of a patch, 0 outside; as `gather_nearest`."""
    displaced = displacement.shape[1] > 0
    moved = np.zeros((3, out.shape[2]), dtype=np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            c0 = m[0, 0] * z + m[0, 1] * y + t[0] + _TO_CUT_OFF
            c1 = m[1, 0] * z + m[1, 1] * y + t[1] + _TO_CUT_OFF
            c2 = m[2, 0] * z + m[2, 1] * y + t[2] + _TO_CUT_OFF
            if displaced:
                _displace_row(displacement, place, z, y, moved)
            for x in range(out.shape[2]):
                e0, e1, e2 = c0 + m[0, 2] * x, c1 + m[1, 2] * x, c2 + m[2, 2] * x
                if displaced:
                    e0, e1, e2 = e0 + moved[0, x], e1 + moved[1, x], e2 + moved[2, x]
                i0 = int(np.floor(e0)) - begin[0]
                i1 = int(np.floor(e1)) - begin[1]
                i2 = int(np.floor(e2)) - begin[2]
                if 0 <= i0 < source.shape[0] and 0 <= i1 < source.shape[1] and 0 <= i2 < source.shape[2]:
                    out[z, y, x] = source[i0, i1, i2]
                else:
                    out[z, y, x] = 0


@compiled()
def copy_values(
    source: npt.NDArray[Any],
    first: int,
    strides: npt.NDArray[np.int64],
    lookup: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Fill a patch whose voxels are voxels of the source: no arithmetic.

    Parameters
    ----------
    source : ndarray
        Contiguous, flat.
    first : int
        Which of its values the first voxel of the patch is.
    strides : ndarray of int64
        How many values further the next voxel along z, y and x is.
    lookup, out
        As for `gather_linear`.
    """
    lookups = lookup.shape[0] > 0
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            start = first + z * strides[0] + y * strides[1]
            for x in range(out.shape[2]):
                value = source[np.uintp(start + x * strides[2])]
                out[z, y, x] = lookup[np.uintp(value)] if lookups else value


@compiled()
def copy_labels(
    source: npt.NDArray[Any], first: int, strides: npt.NDArray[np.int64], table: npt.NDArray[Any], out: npt.NDArray[Any]
) -> None:
    """Look up labels in a patch whose voxels are voxels of the source; as `copy_values` and `gather_nearest`."""
    row = np.empty(out.shape[3], dtype=np.int32)
    for z in range(out.shape[1]):
        for y in range(out.shape[2]):
            start = first + z * strides[0] + y * strides[1]
            for x in range(out.shape[3]):
                row[x] = source[np.uintp(start + x * strides[2])]
            for channel in range(out.shape[0]):
                values, line = table[channel], out[channel, z, y]
                for x in range(out.shape[3]):
                    line[x] = values[np.uintp(row[x])]


@compiled()
def merge_codes(
    packed: npt.NDArray[np.uint16], codes: npt.NDArray[np.uint8], known: npt.NDArray[np.int32], found: int
) -> int:
    """Refine the combinations of classes of each voxel by one class more.

    Parameters
    ----------
    packed : ndarray of uint16
        The number of each voxel's combination; is changed.
    codes : ndarray of uint8
        The codes of the class: absent (0), present (1), unknown (255).
    known : ndarray of int32
        For each former combination and code the number of the new one, -1 if it did not occur yet; filled in place.
    found : int
        New combinations so far.

    Returns
    -------
    int
        New combinations; -1 where there are more than fit.
    """
    for index in range(packed.size):
        code = codes[index]
        key = np.uintp(packed[index]) * np.uintp(3) + np.uintp(2 if code > 1 else code)
        number = known[key]
        if number < 0:
            if found > 65534:
                return -1
            number = known[key] = found
            found += 1
        packed[index] = number
    return found
