"""Compiled loops of the intensity transforms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from csc_data.loader.compilation import FAST, compiled

_BLOCK = 1024
_TILE = 16


@compiled(fastmath=FAST)
def add_noise(
    raw: npt.NDArray[np.float32],
    bits: npt.NDArray[np.uint16],
    quantiles: npt.NDArray[np.float32],
    variance: np.float32,
    variance_of_white: np.float32,
) -> None:
    """Add noise of variance ``variance + variance_of_white * raw`` in place, and clip to 0 to 1; all flat."""
    for i in range(raw.size):
        value = raw[i]
        value += np.sqrt(variance + variance_of_white * max(value, np.float32(0))) * quantiles[bits[i]]
        raw[i] = min(max(value, np.float32(0)), np.float32(1))


@compiled(fastmath=FAST)
def combine(
    values: npt.NDArray[np.float32],
    first: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Combine along the middle axis: ``out[:, i] = sum_k weights[i, k] * values[:, first[i] + k]``.

    ``values`` is (outer, n, inner), ``out`` (outer, m, inner), both C-contiguous; for an inner size above 1.
    """
    outer, _, inner = values.shape
    count, width = weights.shape
    for a in range(outer):
        for begin in range(0, inner, _BLOCK):
            end = min(inner, begin + _BLOCK)
            for i in range(count):
                target = out[a, i, begin:end]
                source = values[a, first[i], begin:end]
                weight = weights[i, 0]
                for b in range(end - begin):
                    target[b] = weight * source[b]
                for k in range(1, width):
                    source = values[a, first[i] + k, begin:end]
                    weight = weights[i, k]
                    for b in range(end - begin):
                        target[b] += weight * source[b]


@compiled(fastmath=FAST)
def combine_rows(
    values: npt.NDArray[np.float32],
    first: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Combine along the last axis of (rows, n), see `combine`; rows are turned by tiles, to use wide registers."""
    rows, length = values.shape
    count, width = weights.shape
    tile = np.zeros((length, _TILE), dtype=np.float32)
    sums = np.empty(_TILE, dtype=np.float32)
    for begin in range(0, rows, _TILE):
        size = min(_TILE, rows - begin)
        for b in range(size):
            for i in range(length):
                tile[i, b] = values[begin + b, i]
        for i in range(count):
            sums[:] = 0
            for k in range(width):
                weight = weights[i, k]
                source = tile[first[i] + k]
                for b in range(_TILE):
                    sums[b] += weight * source[b]
            for b in range(size):
                out[begin + b, i] = sums[b]
