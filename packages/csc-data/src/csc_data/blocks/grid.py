"""A grid of blocks that covers an array exactly once, each with the box to read for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape, as_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of an array.

    Attributes
    ----------
    index : int
        Its number in the grid.
    begin, shape : tuple of int
        The box to write, in voxels; it lies within the array.
    read_begin, read_shape : tuple of int
        The box with its halo; it may begin before 0 and end beyond the array.
    """

    index: int
    begin: Shape
    shape: Shape
    read_begin: tuple[int, int, int]
    read_shape: Shape

    @property
    def write(self) -> tuple[slice, slice, slice]:
        """The box to write, as slices into the array."""
        z, y, x = (slice(b, b + n) for b, n in zip(self.begin, self.shape, strict=True))
        return z, y, x

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The box to write, as slices into what was read."""
        z, y, x = (slice(b - r, b - r + n) for b, r, n in zip(self.begin, self.read_begin, self.shape, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrid:
    """All blocks of an array, x fastest.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    block_shape : tuple of int
        Shape of the box that a block writes; the last one of an axis is smaller where it does not divide the array.
    halo : tuple of int
        Voxels read beyond that box on both sides of each axis.

    Examples
    --------
    >>> grid = BlockGrid(shape=(10, 4, 4), block_shape=(4, 4, 4), halo=(1, 0, 0))
    >>> [block.shape[0] for block in grid]
    [4, 4, 2]
    """

    shape: Shape
    block_shape: Shape
    halo: Shape = (0, 0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        object.__setattr__(self, "block_shape", as_shape(self.block_shape, "block_shape"))
        object.__setattr__(self, "halo", as_shape(self.halo, "halo"))
        if min(self.block_shape) < 1:
            raise InvalidArgumentError(f"block_shape must be at least 1 on every axis, got {self.block_shape}")

    @property
    def counts(self) -> Shape:
        """Blocks per axis."""
        z, y, x = (math.ceil(n / b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, index: int) -> Block:
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        # Computed on demand: no memory grows with the number of blocks.
        _, ny, nx = self.counts
        position = (index // (ny * nx), index // nx % ny, index % nx)
        begin = as_shape([p * b for p, b in zip(position, self.block_shape, strict=True)])
        shape = as_shape([min(b, n - o) for b, n, o in zip(self.block_shape, self.shape, begin, strict=True)])
        z, y, x = (b - h for b, h in zip(begin, self.halo, strict=True))
        return Block(
            index=index,
            begin=begin,
            shape=shape,
            read_begin=(z, y, x),
            read_shape=as_shape([n + 2 * h for n, h in zip(shape, self.halo, strict=True)]),
        )

    def __iter__(self) -> Iterator[Block]:
        return (self[index] for index in range(len(self)))


def align_block_shape(wanted: Sequence[int], chunks: Sequence[int]) -> Shape:
    """Round a block shape up to whole chunks, so that no two blocks write to one chunk.

    >>> align_block_shape((100, 64, 1), (64, 64, 64))
    (128, 64, 64)
    """
    return as_shape([math.ceil(w / c) * c for w, c in zip(wanted, chunks, strict=True)])
