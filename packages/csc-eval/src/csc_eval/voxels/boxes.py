"""The boxes in which a volume is read once: whole chunks, so that each is decoded once, and empty ones not at all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from csc_eval.voxels.arrays import Array, Shape, StoredArray, VoxelSource

BOX_EDGE = 128
"""Small chunks are taken together up to this edge."""


def take_box(source: VoxelSource, begin: Sequence[int], end: Sequence[int]) -> Array | None:
    """Return the voxels of a box, or None if all of them are 0 and that is known.

    Lines along x are contiguous. What was returned before may be written over.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> take_box(MemoryArray(np.arange(8).reshape(2, 2, 2)), (1, 0, 0), (2, 1, 2)).tolist()
    [[[4, 5]]]
    """
    return source.take(begin, end) if isinstance(source, StoredArray) else source.read(begin, end)


def box_shape(shape: Shape, chunks: Shape) -> Shape:
    """Return the shape of boxes of whole chunks, about `BOX_EDGE` long where chunks are smaller.

    >>> box_shape((600, 600, 600), (64, 64, 64)), box_shape((600, 600, 600), (1, 600, 600))
    ((128, 128, 128), (5, 600, 600))
    """
    box = list(chunks)
    for axis in (2, 1, 0):
        voxels = math.prod(map(min, box, shape))
        box[axis] *= max(1, min(BOX_EDGE // chunks[axis], BOX_EDGE**3 // voxels))
    return box[0], box[1], box[2]


def box_edges(shape: Shape, box: Shape) -> tuple[list[int], list[int], list[int]]:
    """Return where boxes begin along each axis, and where the last one ends.

    Examples
    --------
    >>> box_edges((10, 4, 4), (4, 4, 4))
    ([0, 4, 8, 10], [0, 4], [0, 4])
    """
    z, y, x = ([*range(0, n, edge), n] for n, edge in zip(shape, box, strict=True))
    return z, y, x


def iterate_boxes(source: VoxelSource) -> Iterator[tuple[Shape, Shape]]:
    """Yield first and last plus one voxel of boxes that cover a volume, in raster order.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> list(iterate_boxes(MemoryArray(np.zeros((2, 2, 2)))))
    [((0, 0, 0), (2, 2, 2))]
    """
    edges = box_edges(source.shape, box_shape(source.shape, source.chunks))
    for z, y, x in itertools.product(*(itertools.pairwise(ends) for ends in edges)):
        yield (z[0], y[0], x[0]), (z[1], y[1], x[1])
