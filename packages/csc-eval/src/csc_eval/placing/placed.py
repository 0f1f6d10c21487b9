"""A volume shifted into a shape of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from csc_eval.voxels.arrays import Array, Shape, VoxelSource


class Placed:
    """A view in which a volume's voxel 0 lies at an offset, zeros around it, or another value.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> view = Placed(MemoryArray(np.array([[[1, 2]]])), (0, 0, 1), (1, 1, 4))
    >>> view.read((0, 0, 0), (1, 1, 4)).tolist()
    [[[0, 1, 2, 0]]]
    """

    def __init__(
        self,
        source: VoxelSource,
        offset: Sequence[int],
        shape: Shape,
        order: Literal["C", "F"] = "C",
        around: float = 0,
    ) -> None:
        self.source = source
        self.offset = tuple(map(int, offset))
        self.shape = shape
        self.dtype = source.dtype
        self.chunks = source.chunks
        self.order = order
        self.around = around

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box of the view."""
        out = np.full([e - b for b, e in zip(begin, end, strict=True)], self.around, self.dtype)
        low = [max(b, o, 0) for b, o in zip(begin, self.offset, strict=True)]
        high = [min(e, o + n) for e, o, n in zip(end, self.offset, self.source.shape, strict=True)]
        if all(b < e for b, e in zip(low, high, strict=True)):
            box = tuple(slice(b - o, e - o) for b, e, o in zip(low, high, begin, strict=True))
            out[box] = self.source.read(
                [b - o for b, o in zip(low, self.offset, strict=True)],
                [e - o for e, o in zip(high, self.offset, strict=True)],
            )
        return out
