"""Crops divided into blocks, where there are too few crops to leave one out at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from csc_data.geometry import Shape
from csc_submit.tuning.scores.held import Box

ENOUGH_CROPS = 4
"""Crops that hold a class from which on whole ones are left out."""

_BLOCKS = 8  # in all crops together, about
_SHORTEST = 16  # voxels of the edge of a block
_MARGIN = 1 / 8  # of the edge of a block, between it and the next


def whole(shape: Shape) -> tuple[Box]:
    """Return the box that is all of a crop.

    Examples
    --------
    >>> whole((4, 5, 6))
    ((slice(0, 4, None), slice(0, 5, None), slice(0, 6, None)),)
    """
    z, y, x = (slice(0, n) for n in shape)
    return ((z, y, x),)


def divide(shape: Shape, crops: int) -> tuple[Box, ...]:
    """Return the blocks of one of so many crops, with a margin between them that none has.

    The longest edges are halved: once for three crops, twice for two, three times for one.

    >>> [[part.indices(64)[:2] for part in box] for box in divide((20, 20, 64), 3)]
    [[(0, 20), (0, 20), (0, 30)], [(0, 20), (0, 20), (34, 64)]]
    """
    counts = [1, 1, 1]
    for _ in range({1: 3, 2: 2}.get(crops, 1)):
        edges = [n / count if n / (2 * count) >= _SHORTEST else 0 for n, count in zip(shape, counts, strict=True)]
        if max(edges):
            counts[edges.index(max(edges))] *= 2
    axes = [_ranges(n, count) for n, count in zip(shape, counts, strict=True)]
    return tuple((z, y, x) for z, y, x in itertools.product(*axes))


def _ranges(size: int, count: int) -> Sequence[slice]:
    edge = size / count
    half = round(edge * _MARGIN / 2)
    return [
        slice(round(n * edge) + (half if n else 0), round((n + 1) * edge) - (half if n < count - 1 else 0))
        for n in range(count)
    ]
