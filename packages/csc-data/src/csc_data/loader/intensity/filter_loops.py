"""Compiled loops of linear filters along z, y and x: plane by plane, so that what a plane needs stays in the cache."""

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
def filter_planes(values: npt.NDArray[np.float32], along_z: Taps, along_y: Taps, out: npt.NDArray[np.float32]) -> None:
    """Filter along z, then y, and clip to 0 to 1; (z, y, x) float32, ``out`` another array of the resulting shape."""
    flat, (_, height, length) = values.reshape(-1), values.shape
    plane = np.empty(height * length, dtype=np.float32)
    for z in range(out.shape[0]):
        _add_up(flat, along_z.places[z] * (height * length), along_z.weights[z], plane)
        for y in range(out.shape[1]):
            row = out[z, y]
            _add_up(plane, along_y.places[y] * length, along_y.weights[y], row)
            for x in range(length):
                row[x] = min(max(row[x], np.float32(0)), np.float32(1))


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
def _blur_plane(plane: npt.NDArray[np.float32], along_y: Taps, along_x: Taps) -> npt.NDArray[np.float32]:
    """Return a plane filtered along x and y, at the beginning of rows that are longer than the plane's.

    With what lies around it, mirrored, a plane is one long row for either axis.
    """
    height, length = plane.shape
    around_y, around_x = along_y.weights.shape[1] // 2, along_x.weights.shape[1] // 2
    wide = length + 2 * around_x
    surrounded = np.empty((height + 1, wide), dtype=np.float32)
    for y in range(height):
        surrounded[y, around_x : around_x + length] = plane[y]
        for k in range(around_x):
            surrounded[y, k] = plane[y, along_x.places[0, k]]
            surrounded[y, around_x + length + k] = plane[y, along_x.places[length - 1, around_x + 1 + k]]
    surrounded[height] = 0  # the last results of the last row take from beyond it; nobody looks at them
    rows = np.empty((height + 2 * around_y, wide), dtype=np.float32)
    inner = rows[around_y : around_y + height]
    _add_up(surrounded.reshape(-1), np.arange(2 * around_x + 1), along_x.weights[0], inner.reshape(-1))
    for k in range(around_y):
        rows[k] = inner[along_y.places[0, k]]
        rows[around_y + height + k] = inner[along_y.places[height - 1, around_y + 1 + k]]
    blurred = surrounded[:height]
    _add_up(rows.reshape(-1), np.arange(2 * around_y + 1) * wide, along_y.weights[0], blurred.reshape(-1))
    return blurred


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
    around = along_z.weights.shape[1] // 2
    # The planes that are not written over yet but needed: as they were, each at its number modulo how many there are.
    slots = min(depth, 2 * around + 1)
    kept = np.empty((slots, height * length), dtype=np.float32)
    plane = np.empty((height, length), dtype=np.float32)
    copied = 0
    for z in range(depth):
        while copied < min(depth, z + around + 1):
            kept[copied % slots] = raw[copied].reshape(-1)
            copied += 1
        places = along_z.places[z] % slots * (height * length)
        _add_up(kept.reshape(-1), places, along_z.weights[z], plane.reshape(-1))
        blurred = _blur_plane(plane, along_y, along_x)
        for y in range(height):
            source, target = blurred[y], raw[z, y]
            for x in range(length):
                target[x] = min(max(source[x], np.float32(0)), np.float32(1))
