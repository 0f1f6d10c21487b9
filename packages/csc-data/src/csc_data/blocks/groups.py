"""The groups in which blocks are handed out: the same in every process, without a word between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from csc_data.blocks.grid import BlockGrid
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape, as_shape

_SHARE = 64  # a group is at most this part of what is left: several processes end at about the same time
_LARGEST = 16
_MOST_GROUPS = 4096  # each is a file while work goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Blocks in groups: in their order, fewer to a group towards the end, or all of a larger box together.

    Attributes
    ----------
    grid : BlockGrid
        All blocks.
    together : tuple of int, optional
        Shape in voxels of the box whose blocks make a group, such as that of a shard; a multiple of a block's.

    Raises
    ------
    InvalidArgumentError
        If blocks do not divide that box.

    Examples
    --------
    >>> grid = BlockGrid(shape=(8, 8, 8), block_shape=(4, 4, 4))
    >>> Groups(grid=grid, together=(4, 8, 8)).all()
    ([0, 1, 2, 3], [4, 5, 6, 7])
    """

    grid: BlockGrid
    together: Shape | None = None

    def __post_init__(self) -> None:
        if self.together is None:
            return
        pairs = zip(as_shape(self.together, "together"), self.grid.block_shape, strict=True)
        if any(box < 1 or box % block for box, block in pairs):
            raise InvalidArgumentError(
                f"blocks of {self.grid.block_shape} voxels do not divide {self.together}, which is to be done together"
            )

    def all(self) -> tuple[Sequence[int], ...]:
        """Return the numbers of the blocks of each group."""
        return _in_order(len(self.grid)) if self.together is None else self._boxes(self.together)

    def _boxes(self, together: Shape) -> tuple[Sequence[int], ...]:
        per_box = [box // block for box, block in zip(together, self.grid.block_shape, strict=True)]
        counts = self.grid.counts
        parts = [
            [range(start, min(start + step, count)) for start in range(0, count, step)]
            for step, count in zip(per_box, counts, strict=True)
        ]
        return tuple(
            [(z * counts[1] + y) * counts[2] + x for z, y, x in itertools.product(*box)]
            for box in itertools.product(*parts)
        )


def _in_order(count: int) -> tuple[range, ...]:
    largest = max(_LARGEST, math.ceil(count / _MOST_GROUPS))
    groups, start = [], 0
    while start < count:
        stop = start + min(largest, max(1, (count - start) // _SHARE))
        groups.append(range(start, stop))
        start = stop
    return tuple(groups)
