"""Boxes of volumes in memory, contiguous, as compiled loops need them, up to a number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import ByteCache, passing_through

VoxelIndex = npt.NDArray[np.int64]
"""Three voxel indices, z, y, x."""

_LARGEST_SHARE = 2  # of the cache's bytes
_READS_BEFORE = 6
_COST_SHARE = 2  # of the region's bytes

DEFAULT_BYTES = 200_000_000


class RegionCache(ByteCache[Any]):
    """Holds whole regions that patches are cut from.

    A region is read whole when parts of it were read several times, or the parts add up to half of it: a crop that
    is visited once costs no more than its patch, and one that is visited often is read once.

    Parameters
    ----------
    max_bytes : int
        Most bytes held; a region larger than half of it is always read in parts.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(max_bytes)
        self._partly: dict[Hashable, tuple[int, int]] = {}

    def clear(self) -> None:
        """Forget everything, also what was read in parts."""
        super().clear()
        self._partly.clear()

    def can_hold(self, size: int) -> bool:
        """Tell whether a region of this many bytes may be cached."""
        return size <= self.max_bytes // _LARGEST_SHARE

    def is_due(self, key: Hashable, part: int, whole: int) -> bool:
        """Tell whether it is time to read a region whole; if not, note the part that is wanted now.

        Parameters
        ----------
        key : hashable
        part, whole : int
            Bytes of the part that is wanted now, and of the region.
        """
        with self._lock:
            reads, read = self._partly.pop(key, (0, 0))
            due = reads + 1 >= _READS_BEFORE or (read + part) * _COST_SHARE >= whole
            if not due:
                self._partly[key] = (reads + 1, read + part)
        return due


class HeldRegion:
    """A box of a stored array from which patches are cut.

    Parameters
    ----------
    cache : RegionCache
    begin, end : ndarray of int64
        The box, in voxels of the array.
    itemsize : int
        Bytes of a voxel as it is held.
    read : callable
        Gives a box of the array, by begin and end, in the form in which it is held.
    """

    def __init__(
        self,
        cache: RegionCache,
        begin: VoxelIndex,
        end: VoxelIndex,
        itemsize: int,
        read: Callable[[VoxelIndex, VoxelIndex], Any],
    ) -> None:
        self.cache = cache
        self.begin, self.end = begin, np.maximum(begin, end)
        self.itemsize = itemsize
        self._read = read

    @property
    def is_held(self) -> bool:
        """Whether it is in memory."""
        return self.cache.find(self) is not None

    def whole(self, begin: VoxelIndex, end: VoxelIndex) -> Any:
        """Return the whole region if it is cached or worth caching for a reader of this box; else None."""
        if np.any(begin < self.begin) or np.any(end > self.end):
            return None
        held = self.cache.find(self)
        if held is not None:
            return held
        size = int(np.prod(self.end - self.begin)) * self.itemsize
        if not self.cache.can_hold(size):
            return None
        if not self.cache.is_due(self, int(np.prod(end - begin)) * self.itemsize, size):
            return None
        with passing_through():  # the region is cached, so its chunks need not be
            value = self._read(self.begin, self.end)
        self.cache.keep(self, value, size)
        return value

    def part(self, begin: VoxelIndex, end: VoxelIndex) -> tuple[Any, VoxelIndex]:
        """Return what holds a box of the array, and where it begins."""
        whole = self.whole(begin, end)
        return (self._read(begin, end), begin) if whole is None else (whole, self.begin)
