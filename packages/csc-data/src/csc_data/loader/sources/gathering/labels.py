"""Compiled loops that fill patches of labels by nearest neighbour, and pack the classes of each voxel into a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import FAST, compiled
from csc_data.loader.sources.gathering.rows import ONE, TO_CUT_OFF, bend_row, clip_to_interior, straight_piece


@compiled()
def label_along_axes(
    flat: npt.NDArray[Any],
    steps: npt.NDArray[np.int64],
    shape: npt.NDArray[np.int64],
    table: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """Look up labels in a patch that lies along the axes: each source value stands for one value a channel.

    Parameters
    ----------
    flat : ndarray of int
        A box of the volume, flat.
    steps : ndarray of int64
        Shape (n,), for each voxel of the patch along z, then y, then x: how many values of ``flat`` further the voxel
        that it lies in is along that axis; below 0 where nothing is known.
    shape : ndarray of int64
        Of the patch.
    table : ndarray
        Shape (C, P + 1): what each of P source values is in each channel; the last one is unknown.
    out : ndarray
        Shape (C, z, y, x), of the table's type; is filled.
    """
    depth, height, width = shape
    row = np.empty(width, dtype=np.int32)
    unknown = np.int32(table.shape[1] - 1)
    steps2 = steps[depth + height :]
    low, high = 0, width  # what is known of a row is a piece of it
    while low < high and steps2[low] < 0:
        low += 1
    while high > low and steps2[high - 1] < 0:
        high -= 1
    for z in range(depth):
        for y in range(height):
            known = steps[z] >= 0 and steps[depth + y] >= 0
            first, last = (low, high) if known else (0, 0)
            start = steps[z] + steps[depth + y]
            row[:first] = unknown
            for x in range(first, last):
                row[x] = flat[np.uintp(start + steps2[x])]
            row[last:] = unknown
            for channel in range(out.shape[0]):
                values, line = table[channel], out[channel, z, y]
                for x in range(width):
                    line[x] = values[np.uintp(row[x])]


@compiled(fastmath=FAST, inline=True)
def _take_row(
    flat: npt.NDArray[Any],
    shape: tuple[int, int, int],
    begin: npt.NDArray[np.int64],
    limits: npt.NDArray[np.float64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    at: tuple[int, int],
    unknown: int,
    bent: npt.NDArray[np.float64],
    bend: npt.NDArray[np.float64],
    row: npt.NDArray[Any],
) -> None:
    """Fill in the value of a box, of that shape and flat, that each voxel of a row lies in, or that for unknown."""
    n1, n2 = shape[1], shape[2]
    z, y = at
    displaced = displacement.shape[1] > 0
    if displaced:
        bend_row(displacement, place, z, y, bent)
    width = row.shape[0]
    low0, low1, low2 = limits[0, 0], limits[0, 1], limits[0, 2]
    size0, size1, size2 = limits[1, 0] - low0, limits[1, 1] - low1, limits[1, 2] - low2
    start = 0
    while start < width:
        stop = straight_piece(bent, place, start, width, bend) if displaced else width
        d0, d1, d2 = m[0, 2] + bend[1, 0], m[1, 2] + bend[1, 1], m[2, 2] + bend[1, 2]
        c0 = m[0, 0] * z + m[0, 1] * y + t[0] + bend[0, 0] + TO_CUT_OFF
        c1 = m[1, 0] * z + m[1, 1] * y + t[1] + bend[0, 1] + TO_CUT_OFF
        c2 = m[2, 0] * z + m[2, 1] * y + t[2] + bend[0, 2] + TO_CUT_OFF
        first, last = float(start), float(stop)
        first, last = clip_to_interior(first, last, c0 - low0, d0, size0)
        first, last = clip_to_interior(first, last, c1 - low1, d1, size1)
        first, last = clip_to_interior(first, last, c2 - low2, d2, size2)
        inner = max(start, min(int(np.ceil(first)), stop))
        end = max(inner, min(int(np.floor(last)), stop))
        s0, s1, s2 = np.int64(d0 * ONE), np.int64(d1 * ONE), np.int64(d2 * ONE)
        b0 = np.int64((c0 + d0 * start) * ONE)
        b1 = np.int64((c1 + d1 * start) * ONE)
        b2 = np.int64((c2 + d2 * start) * ONE)
        u0 = b0 + (inner - start) * s0 - (begin[0] << 32)
        u1 = b1 + (inner - start) * s1 - (begin[1] << 32)
        u2 = b2 + (inner - start) * s2 - (begin[2] << 32)
        for x in range(inner, end):
            row[x] = flat[np.uintp(((u0 >> 32) * n1 + (u1 >> 32)) * n2 + (u2 >> 32))]
            u0, u1, u2 = u0 + s0, u1 + s1, u2 + s2
        for x in range(start, stop):
            if inner <= x < end:
                continue
            w0, w1, w2 = b0 + (x - start) * s0, b1 + (x - start) * s1, b2 + (x - start) * s2
            row[x] = unknown
            e0, e1, e2 = (w0 / ONE - low0, w1 / ONE - low1, w2 / ONE - low2)
            if 0 <= e0 < size0 and 0 <= e1 < size1 and 0 <= e2 < size2:
                i0, i1, i2 = (w0 >> 32) - begin[0], (w1 >> 32) - begin[1], (w2 >> 32) - begin[2]
                row[x] = flat[np.uintp((i0 * n1 + i1) * n2 + i2)]
        start = stop


@compiled(fastmath=FAST)
def label_turned(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    limits: npt.NDArray[np.float64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    table: npt.NDArray[Any],
    out: npt.NDArray[Any],
) -> None:
    """Look up labels at the voxels of a patch at any pose; see `label_along_axes`.

    Parameters
    ----------
    source : ndarray of int
        A box of the volume, contiguous.
    begin : ndarray of int64
        Where it begins.
    limits : ndarray of float64
        Shape (2, 3): the first and one after the last position, half a voxel added, at which labels are known.
    m, t, displacement, place
        As for `csc_data.loader.sources.gathering.raw.gather_turned`.
    table, out
        As for `label_along_axes`.
    """
    flat = source.reshape(-1)
    bent = np.zeros((3, max(1, displacement.shape[3])))
    bend = np.zeros((2, 3))
    width = out.shape[3]
    row = np.empty(width, dtype=np.int32)
    unknown = int(table.shape[1] - 1)
    for z in range(out.shape[1]):
        for y in range(out.shape[2]):
            _take_row(flat, source.shape, begin, limits, m, t, displacement, place, (z, y), unknown, bent, bend, row)
            for channel in range(out.shape[0]):
                values, line = table[channel], out[channel, z, y]
                for x in range(width):
                    line[x] = values[np.uintp(row[x])]


@compiled(fastmath=FAST)
def take_stored(
    source: npt.NDArray[Any],
    begin: npt.NDArray[np.int64],
    limits: npt.NDArray[np.float64],
    m: npt.NDArray[np.float64],
    t: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    out: npt.NDArray[np.int64],
) -> None:
    """Take the nearest stored whole number at the voxels of a patch, 0 where nothing is known; as `label_turned`."""
    flat = source.reshape(-1)
    bent = np.zeros((3, max(1, displacement.shape[3])))
    bend = np.zeros((2, 3))
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            _take_row(flat, source.shape, begin, limits, m, t, displacement, place, (z, y), 0, bent, bend, out[z, y])


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
