"""Compiled loops that fill patches of raw: along the axes by tables, at any pose by the positions of a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import FAST, compiled
from csc_data.loader.sources.gathering.rows import (
    FRACTION,
    ONE,
    ROUNDING,
    bend_row,
    clip_to_interior,
    mirrored,
    straight_piece,
)

_HALF = np.float32(0.5)


@compiled(fastmath=FAST)
def gather_along_axes(
    flat: npt.NDArray[Any],
    steps: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    shape: npt.NDArray[np.int64],
    lookup: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """Interpolate raw linearly in a patch that lies along the axes.

    Parameters
    ----------
    flat : ndarray
        The box of the volume that is needed, flat.
    steps : ndarray of int64
        Shape (n, 2), for each voxel of the patch along z, then y, then x: by how many values of ``flat`` the voxels
        on either side of its position lie further along that axis.
    weights : ndarray of float32
        Shape (n,): the weight of the second of them.
    shape : ndarray of int64
        Of the patch.
    lookup : ndarray
        What each value, rounded, becomes; empty to keep values.
    out : ndarray
        Shape of the patch, type of the lookup; is filled.
    """
    depth, height, width = shape
    lookups = lookup.shape[0] > 0
    plain = True
    for x in range(depth + height, depth + height + width):
        plain = plain and weights[x] == 0
    steps2, weights2 = steps[depth + height :], weights[depth + height :]
    for z in range(depth):
        f0 = weights[z]
        for y in range(height):
            f1 = weights[depth + y]
            a = steps[z, 0] + steps[depth + y, 0]
            line = out[z, y]
            if plain and f0 == 0 and f1 == 0:
                for x in range(width):
                    value = flat[np.uintp(a + steps2[x, 0])]
                    line[x] = lookup[np.uintp(value)] if lookups else value
                continue
            b = steps[z, 0] + steps[depth + y, 1]
            c = steps[z, 1] + steps[depth + y, 0]
            d = steps[z, 1] + steps[depth + y, 1]
            for x in range(width):
                i, j, f2 = steps2[x, 0], steps2[x, 1], weights2[x]
                near = np.float32(flat[np.uintp(a + i)])
                near += (np.float32(flat[np.uintp(a + j)]) - near) * f2
                other = np.float32(flat[np.uintp(b + i)])
                other += (np.float32(flat[np.uintp(b + j)]) - other) * f2
                near += (other - near) * f1
                far = np.float32(flat[np.uintp(c + i)])
                far += (np.float32(flat[np.uintp(c + j)]) - far) * f2
                other = np.float32(flat[np.uintp(d + i)])
                other += (np.float32(flat[np.uintp(d + j)]) - other) * f2
                far += (other - far) * f1
                near += (far - near) * f0
                line[x] = lookup[np.uintp(near + _HALF)] if lookups else near


@compiled(fastmath=FAST)
def _taps(fraction: np.float32, taps: npt.NDArray[np.float32]) -> None:
    """Fill in the weights of the voxels around a position: two of a line, or four of a cubic (Keys, a = -1/2)."""
    f = fraction
    if taps.shape[0] == 2:
        taps[0], taps[1] = np.float32(1) - f, f
        return
    half, one_half, two_half = np.float32(0.5), np.float32(1.5), np.float32(2.5)
    taps[0] = f * (np.float32(-0.5) + f * (np.float32(1) - half * f))
    taps[1] = np.float32(1) + f * f * (one_half * f - two_half)
    taps[2] = f * (half + f * (np.float32(2) - one_half * f))
    taps[3] = half * f * f * (f - np.float32(1))


@compiled(fastmath=FAST)
def _beyond(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    faces: npt.NDArray[np.int64],
    first: tuple[int, int, int],
    taps: npt.NDArray[np.float32],
) -> np.float32:
    """Interpolate at a position near or beyond the faces, at which raw is mirrored; ``first`` is of its voxels."""
    total = np.float32(0)
    count = taps.shape[1]
    for i in range(count):
        z = mirrored(first[0] + i, faces[0, 0], faces[1, 0]) - begin[0]
        for j in range(count):
            y = mirrored(first[1] + j, faces[0, 1], faces[1, 1]) - begin[1]
            weight = taps[0, i] * taps[1, j]
            for k in range(count):
                x = mirrored(first[2] + k, faces[0, 2], faces[1, 2]) - begin[2]
                total += np.float32(source[z, y, x]) * (weight * taps[2, k])
    return total


@compiled(fastmath=FAST, inline=True)
def _linear_piece(
    flat: npt.NDArray[Any],
    strides: tuple[int, int],
    first: tuple[Any, Any, Any],
    step: tuple[Any, Any, Any],
    piece: tuple[int, int],
    row: npt.NDArray[np.float32],
) -> None:
    """Interpolate linearly at positions in a straight line; none is near an end of the box."""
    plane, line = strides
    (u0, u1, u2), (s0, s1, s2) = first, step
    one, step1, step0 = np.uintp(1), np.uintp(line), np.uintp(plane)
    for x in range(piece[0], piece[1]):
        # Unsigned, as numba would ask of each signed index whether it counts from the end.
        k = np.uintp((u0 >> 32) * plane + (u1 >> 32) * line + (u2 >> 32))
        f0 = np.float32(np.int32((u0 >> 16) & 65535)) * FRACTION
        f1 = np.float32(np.int32((u1 >> 16) & 65535)) * FRACTION
        f2 = np.float32(np.int32((u2 >> 16) & 65535)) * FRACTION
        u0, u1, u2 = u0 + s0, u1 + s1, u2 + s2
        a, b = np.float32(flat[k]), np.float32(flat[k + step1])
        near = a + (np.float32(flat[k + one]) - a) * f2
        near += (b + (np.float32(flat[k + step1 + one]) - b) * f2 - near) * f1
        k += step0
        a, b = np.float32(flat[k]), np.float32(flat[k + step1])
        far = a + (np.float32(flat[k + one]) - a) * f2
        far += (b + (np.float32(flat[k + step1 + one]) - b) * f2 - far) * f1
        row[x] = near + (far - near) * f0


@compiled(fastmath=FAST, inline=True)
def _cubic_piece(
    flat: npt.NDArray[Any],
    strides: tuple[int, int],
    first: tuple[Any, Any, Any],
    step: tuple[Any, Any, Any],
    taps: npt.NDArray[np.float32],
    piece: tuple[int, int],
    row: npt.NDArray[np.float32],
) -> None:
    """Interpolate by cubics at positions in a straight line; none is near an end of the box."""
    plane, line = strides
    (u0, u1, u2), (s0, s1, s2) = first, step
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    for x in range(piece[0], piece[1]):
        k = ((u0 >> 32) - 1) * plane + ((u1 >> 32) - 1) * line + (u2 >> 32) - 1
        _taps(np.float32(np.int32((u0 >> 16) & 65535)) * FRACTION, taps[0])
        _taps(np.float32(np.int32((u1 >> 16) & 65535)) * FRACTION, taps[1])
        _taps(np.float32(np.int32((u2 >> 16) & 65535)) * FRACTION, taps[2])
        u0, u1, u2 = u0 + s0, u1 + s1, u2 + s2
        value = np.float32(0)
        for i in range(4):
            across = np.float32(0)
            for j in range(4):
                n = np.uintp(k + i * plane + j * line)
                along = np.float32(flat[n]) * taps[2, 0] + np.float32(flat[n + one]) * taps[2, 1]
                along += np.float32(flat[n + two]) * taps[2, 2] + np.float32(flat[n + three]) * taps[2, 3]
                across += along * taps[1, j]
            value += across * taps[0, i]
        row[x] = value


@compiled(fastmath=FAST)
def gather_turned(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    faces: npt.NDArray[np.int64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    lookup: npt.NDArray[Any],
    cubic: bool,
    out: npt.NDArray[Any],
) -> None:
    """Interpolate raw at the voxels of a patch at any pose.

    Parameters
    ----------
    source : ndarray
        The box of the volume that is needed, contiguous.
    begin : ndarray of int64
        Where the box begins in the volume.
    faces : ndarray of int64
        Shape (2, 3): the first and one after the last voxel of raw, at whose faces it is mirrored.
    m, t : ndarray of float64
        The map from voxels of the patch to coordinates in the volume, shapes (3, 3) and (3,).
    displacement, place : ndarray
        See `bend_row`; `NO_DISPLACEMENT` for none.
    lookup : ndarray
        What each value, rounded, becomes; empty to keep values.
    cubic : bool
        Whether four voxels along each axis are taken, not two.
    out : ndarray
        Shape of the patch, type of the lookup; is filled.
    """
    flat = source.reshape(-1)
    plane, line = source.shape[1] * source.shape[2], source.shape[2]
    displaced = displacement.shape[1] > 0
    lookups, most = lookup.shape[0] > 0, np.float32(max(lookup.shape[0] - 1, 0))
    bent = np.zeros((3, displacement.shape[3] if displaced else 1))
    bend = np.zeros((2, 3))
    before = 1 if cubic else 0  # voxels before the one that a position lies behind
    taps = np.empty((3, 4 if cubic else 2), dtype=np.float32)
    around = 1.0 + 2 * before
    last0, last1, last2 = source.shape[0] - around, source.shape[1] - around, source.shape[2] - around
    width = out.shape[2]
    row = np.empty(width, dtype=np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            if displaced:
                bend_row(displacement, place, z, y, bent)
            start = 0
            while start < width:
                stop = straight_piece(bent, place, start, width, bend) if displaced else width
                d0, d1, d2 = m[0, 2] + bend[1, 0], m[1, 2] + bend[1, 1], m[2, 2] + bend[1, 2]
                c0 = m[0, 0] * z + m[0, 1] * y + t[0] + bend[0, 0]
                c1 = m[1, 0] * z + m[1, 1] * y + t[1] + bend[0, 1]
                c2 = m[2, 0] * z + m[2, 1] * y + t[2] + bend[0, 2]
                first, last = float(start), float(stop)
                first, last = clip_to_interior(first, last, c0 - begin[0] - before, d0, last0)
                first, last = clip_to_interior(first, last, c1 - begin[1] - before, d1, last1)
                first, last = clip_to_interior(first, last, c2 - begin[2] - before, d2, last2)
                inner = max(start, min(int(np.ceil(first)), stop))
                end = max(inner, min(int(np.floor(last)), stop))
                s0, s1, s2 = np.int64(d0 * ONE), np.int64(d1 * ONE), np.int64(d2 * ONE)
                b0 = np.int64((c0 + d0 * start + ROUNDING) * ONE) - (begin[0] << 32)
                b1 = np.int64((c1 + d1 * start + ROUNDING) * ONE) - (begin[1] << 32)
                b2 = np.int64((c2 + d2 * start + ROUNDING) * ONE) - (begin[2] << 32)
                u0, u1, u2 = b0 + (inner - start) * s0, b1 + (inner - start) * s1, b2 + (inner - start) * s2
                if cubic:
                    _cubic_piece(flat, (plane, line), (u0, u1, u2), (s0, s1, s2), taps, (inner, end), row)
                else:
                    _linear_piece(flat, (plane, line), (u0, u1, u2), (s0, s1, s2), (inner, end), row)
                for x in range(start, stop):
                    if inner <= x < end:
                        continue
                    w0, w1, w2 = b0 + (x - start) * s0, b1 + (x - start) * s1, b2 + (x - start) * s2
                    _taps(np.float32(np.int32((w0 >> 16) & 65535)) * FRACTION, taps[0])
                    _taps(np.float32(np.int32((w1 >> 16) & 65535)) * FRACTION, taps[1])
                    _taps(np.float32(np.int32((w2 >> 16) & 65535)) * FRACTION, taps[2])
                    voxel = (
                        (w0 >> 32) + begin[0] - before,
                        (w1 >> 32) + begin[1] - before,
                        (w2 >> 32) + begin[2] - before,
                    )
                    row[x] = _beyond(source, begin, faces, voxel, taps)
                start = stop
            for x in range(width):
                if lookups:
                    out[z, y, x] = lookup[np.uintp(min(max(row[x], np.float32(0)), most) + _HALF)]
                else:
                    out[z, y, x] = row[x]
