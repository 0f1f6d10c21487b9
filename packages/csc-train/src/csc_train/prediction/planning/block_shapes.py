"""How a region is divided into blocks: for memory, for few windows that are done twice, and for all who work on it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from csc_data.blocks import BlockGrid, align_block_shape
from csc_data.geometry import Grid, Shape, as_shape
from csc_train.prediction.blocks import block_bytes, plan_block_shape
from csc_train.prediction.blocks.finishing import axis_shares
from csc_train.prediction.outputs import Output
from csc_train.prediction.window.tiling import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCount:
    """How many windows the blocks of an output do, each by itself.

    Attributes
    ----------
    total : int
        Of all blocks.
    largest : int
        Of the one with most.
    """

    total: int
    largest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShapes:
    """Chooses the shape of the blocks of a region.

    Attributes
    ----------
    windows : Windows
    processes : int
        That will work.
    regions : int
        That they work on.
    """

    windows: Windows
    processes: int
    regions: int

    def choose(self, grid: Grid, output: Output, classes: int) -> Shape:
        """Return the voxels of the output that are predicted as one piece of work.

        Where networks round differently in other batches, the values depend on it in their last bits. So it stands in
        the record of a run, and who goes on takes it from there.

        Parameters
        ----------
        grid : Grid
            Of the network's output.
        output : Output
        classes : int
            That are written.
        """
        storage = output.storage
        own = output.grid == grid
        shape = plan_block_shape(
            self.windows,
            classes=classes,
            itemsize=np.dtype(storage.dtype).itemsize,
            chunks=storage.chunks if own else (1, 1, 1),
            most_bytes=block_bytes(classes, self.processes),
        )
        if not own:  # it is of the network's voxels, of which several may be averaged to one
            coarser = [max(1.0, o / g) for o, g in zip(output.grid.voxel_size, grid.voxel_size, strict=True)]
            shape = align_block_shape([max(1, int(n / c)) for n, c in zip(shape, coarser, strict=True)], storage.chunks)
        if storage.together(output.grid.shape) is not None:
            return storage.fit_block(shape, output.grid.shape)
        return self._divided(shape, grid, output)

    def _divided(self, shape: Shape, grid: Grid, output: Output) -> Shape:
        """Return a shape up to this one with which all processes end soonest."""
        share = math.ceil(self.processes / self.regions)
        region, chunks = output.grid.shape, output.storage.chunks
        if len(BlockGrid(shape=region, block_shape=shape)) >= share:
            return shape
        edges = [_edges(min(e, n), c, 2 * share) for e, n, c in zip(shape, region, chunks, strict=True)]

        def until_the_end(edges: Sequence[int]) -> float:
            blocks = BlockGrid(shape=region, block_shape=as_shape(edges))
            count = count_windows(self.windows, grid, output.grid, blocks)
            return max(count.total / share, count.largest)

        return as_shape(min(itertools.product(*edges), key=until_the_end))


def _edges(length: int, chunk: int, most_parts: int) -> list[int]:
    """Return the edges of blocks, whole chunks, that divide a length into about so many parts and fewer; largest first.

    >>> _edges(400, 96, 2)
    [480, 384, 288, 192]
    """
    chunks = {each(length / parts / chunk) for parts in range(1, most_parts + 1) for each in (math.floor, math.ceil)}
    return [max(1, count) * chunk for count in sorted(chunks, reverse=True)]


def count_windows(windows: Windows, grid: Grid, output: Grid, blocks: BlockGrid) -> WindowCount:
    """Return how many windows all blocks of an output do."""
    # Windows lie on the same places along each axis, so blocks are counted axis by axis.
    boxes = [list(_boxes(grid, output, blocks, axis)) for axis in range(3)]
    total = largest = 0
    for placement in windows.place(grid.shape):
        counts: list[list[int]] = []
        for axis in range(3):
            whole_begin, whole_end = [0, 0, 0], list(grid.shape)
            counts.append([])
            for begin, end in boxes[axis]:
                whole_begin[axis], whole_end[axis] = begin, end
                counts[axis].append(len(placement.touching(whole_begin, whole_end)[axis]))
        total += math.prod(map(sum, counts))
        largest += math.prod(map(max, counts))
    return WindowCount(total=total, largest=largest)


def _boxes(grid: Grid, output: Grid, blocks: BlockGrid, axis: int) -> Iterator[tuple[int, int]]:
    """Yield where the blocks along an axis begin and end in the network's output."""
    size, edge = blocks.shape[axis], blocks.block_shape[axis]
    for begin in range(0, size, edge):
        end = min(begin + edge, size)
        if output == grid:
            yield begin, end
        else:
            shares = axis_shares(grid, output, axis, begin, end)
            yield shares.begin, shares.end
