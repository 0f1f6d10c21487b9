"""Compiled loops of linear filters along z, y and x: plane by plane, so that what a plane needs stays in the cache.

Copies are loops of their own and no assignments of slices: those take numba seconds to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import FAST, compiled

_BLOCK = 2048


class Taps(NamedTuple):
    """A linear map along one axis: result i is the sum over k of ``weights[i, k] * values[places[i, k]]``.

    Attributes
    ----------
    places : ndarray
        int64, shape (m, width).
    weights : ndarray
        float32, of the same shape.
    """

    places: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@compiled(fastmath=FAST)
def _add_up(
    values: npt.NDArray[np.float32],
    places: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Add up stretches of values that begin at some places, with weights; all flat.

    Four at a time, as results are written and read again for each; and of long stretches a part, which stays in the
    nearest cache.
    """
    width = weights.size
    for begin in range(0, out.size, _BLOCK):
        size = min(out.size - begin, _BLOCK)
        target = out[begin : begin + size]
        place = places[0] + begin
        part, weight = values[place : place + size], weights[0]
        for b in range(size):
            target[b] = weight * part[b]
        k = 1
        while k + 4 <= width:
            p0, p1, p2, p3 = places[k], places[k + 1], places[k + 2], places[k + 3]
            part_0, part_1 = values[p0 + begin : p0 + begin + size], values[p1 + begin : p1 + begin + size]
            part_2, part_3 = values[p2 + begin : p2 + begin + size], values[p3 + begin : p3 + begin + size]
            w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            for b in range(size):
                target[b] += (w0 * part_0[b] + w1 * part_1[b]) + (w2 * part_2[b] + w3 * part_3[b])
            k += 4
        while k < width:
            place = places[k] + begin
            part, weight = values[place : place + size], weights[k]
            for b in range(size):
                target[b] += weight * part[b]
            k += 1


@compiled(fastmath=FAST)
def _scale(places: npt.NDArray[np.int64], slots: int, size: int, out: npt.NDArray[np.int64]) -> None:
    """Turn numbers of rows or planes, modulo how many are kept, into where they begin."""
    for k in range(places.size):
        out[k] = places[k] % slots * size


@compiled(fastmath=FAST)
def _copy(values: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    for i in range(values.size):
        out[i] = values[i]


@compiled(fastmath=FAST)
def _copy_clipped(values: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    for i in range(out.size):
        out[i] = min(max(values[i], np.float32(0)), np.float32(1))


@compiled(fastmath=FAST)
def filter_planes(values: npt.NDArray[np.float32], along_z: Taps, along_y: Taps, out: npt.NDArray[np.float32]) -> None:
    """Filter along z, then y, and clip to 0 to 1; (z, y, x) float32, ``out`` another array of the resulting shape."""
    depth, height, length = values.shape
    flat = values.reshape(-1)
    plane = np.empty(height * length, dtype=np.float32)
    places_z = np.empty(along_z.places.shape[1], dtype=np.int64)
    places_y = np.empty(along_y.places.shape[1], dtype=np.int64)
    for z in range(out.shape[0]):
        _scale(along_z.places[z], depth, height * length, places_z)
        _add_up(flat, places_z, along_z.weights[z], plane)
        for y in range(out.shape[1]):
            row = out[z, y]
            _scale(along_y.places[y], height, length, places_y)
            _add_up(plane, places_y, along_y.weights[y], row)
            _copy_clipped(row, row)


@compiled(fastmath=FAST)
def filter_rows(values: npt.NDArray[np.float32], along_x: Taps, out: npt.NDArray[np.float32]) -> None:
    """Filter along x; (z, y, x) float32, ``out`` another array of the resulting shape."""
    places, weights = along_x
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row, target = values[z, y], out[z, y]
            for i in range(target.size):
                total = np.float32(0)
                for k in range(weights.shape[1]):
                    total += weights[i, k] * row[places[i, k]]
                target[i] = total


@compiled(fastmath=FAST)
def _surround_rows(
    plane: npt.NDArray[np.float32], length: int, places: npt.NDArray[np.int64], out: npt.NDArray[np.float32]
) -> None:
    """Copy the rows of a plane with what lies around them along x, mirrored; all flat."""
    around = places.shape[1] // 2
    wide = length + 2 * around
    for y in range(plane.size // length):
        row, target = plane[y * length : (y + 1) * length], out[y * wide : (y + 1) * wide]
        _copy(row, target[around : around + length])
        for k in range(around):
            target[k] = row[places[0, k]]
            target[around + length + k] = row[places[length - 1, around + 1 + k]]


@compiled(fastmath=FAST)
def _surround_plane(
    rows: npt.NDArray[np.float32], wide: int, places: npt.NDArray[np.int64], inner: npt.NDArray[np.float32]
) -> None:
    """Copy rows of the inner part of ``rows`` to before and behind it, mirrored; all flat."""
    height, around = places.shape[0], places.shape[1] // 2
    for k in range(around):
        above, below = places[0, k] * wide, places[height - 1, around + 1 + k] * wide
        _copy(inner[above : above + wide], rows[k * wide : (k + 1) * wide])
        last = (around + height + k) * wide
        _copy(inner[below : below + wide], rows[last : last + wide])


@compiled(fastmath=FAST)
def blur(raw: npt.NDArray[np.float32], along_z: Taps, along_y: Taps, along_x: Taps) -> None:
    """Filter along z, y and x in place, and clip to 0 to 1.

    Parameters
    ----------
    raw : ndarray
        float32, shape (z, y, x), C-contiguous.
    along_z, along_y, along_x : Taps
        Of as many results as values, with the same weights for all, an odd number of them; each result takes the
        values around its own place, those beyond an end mirrored.
    """
    depth, height, length = raw.shape
    flat, size = raw.reshape(-1), height * length
    around_z, around_y, around_x = (
        along_z.places.shape[1] // 2,
        along_y.places.shape[1] // 2,
        along_x.places.shape[1] // 2,
    )
    # The planes that are not written over yet but needed: as they were, each at its number modulo how many there are.
    slots = min(depth, 2 * around_z + 1)
    kept, copied = np.empty(slots * size, dtype=np.float32), 0
    plane = np.empty(size, dtype=np.float32)
    # With what lies around it a plane is one long row, along x as along y. The last results of its last row take from
    # beyond it, and nobody looks at them.
    wide = length + 2 * around_x
    surrounded = np.zeros(height * wide + 2 * around_x, dtype=np.float32)
    rows = np.empty((height + 2 * around_y) * wide, dtype=np.float32)
    inner = rows[around_y * wide : (around_y + height) * wide]
    places_z = np.empty(2 * around_z + 1, dtype=np.int64)
    places_y = np.empty(2 * around_y + 1, dtype=np.int64)
    places_x = np.empty(2 * around_x + 1, dtype=np.int64)
    for k in range(places_y.size):
        places_y[k] = k * wide
    for k in range(places_x.size):
        places_x[k] = k
    for z in range(depth):
        while copied < min(depth, z + around_z + 1):
            slot = copied % slots * size
            _copy(flat[copied * size : (copied + 1) * size], kept[slot : slot + size])
            copied += 1
        _scale(along_z.places[z], slots, size, places_z)
        _add_up(kept, places_z, along_z.weights[z], plane)
        _surround_rows(plane, length, along_x.places, surrounded)
        _add_up(surrounded, places_x, along_x.weights[0], inner)
        _surround_plane(rows, wide, along_y.places, inner)
        _add_up(rows, places_y, along_y.weights[0], surrounded[: height * wide])
        for y in range(height):
            _copy_clipped(surrounded[y * wide : (y + 1) * wide], raw[z, y])
