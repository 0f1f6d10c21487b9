"""Boxes of volumes in memory, contiguous, as compiled loops need them, up to a number of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import passing_through
from csc_data.loader.sources.holding.shared_arrays import SharedArrays
from csc_data.loader.sources.holding.shared_memory import Arrays, read_only

VoxelIndex = npt.NDArray[np.int64]
"""Three voxel indices, z, y, x."""

_LARGEST_SHARE = 2  # of the cache's bytes
_READS_BEFORE = 6
_COST_SHARE = 2  # of the region's bytes

DEFAULT_BYTES = 1 << 30


class RegionCache(SharedArrays):
    """Holds whole regions that patches are cut from, for a process and its workers together.

    A region is read whole when parts of it were read several times, or the parts add up to half of it: a crop that
    is visited once costs no more than its patch, and one that is visited often is read once.

    Parameters
    ----------
    max_bytes : int
        Most bytes held; a region larger than half of it is always read in parts.

    Examples
    --------
    >>> cache = RegionCache(max_bytes=1 << 20)
    >>> cache.can_hold(1 << 10), cache.can_hold(1 << 30)
    (True, False)
    >>> cache.is_due("raw", 10, 1_000_000), cache.is_due("raw", 10, 1_000_000)
    (False, False)
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(max_bytes)
        self._partly: dict[str, tuple[int, int]] = {}
        self._parts = threading.Lock()

    def clear(self) -> None:
        """Forget everything that is not in use, also what was read in parts."""
        super().clear()
        self._partly.clear()

    def can_hold(self, size: int) -> bool:
        """Tell whether a region of this many bytes may be cached."""
        return size <= self.max_bytes // _LARGEST_SHARE

    def is_due(self, key: str, part: int, whole: int) -> bool:
        """Tell whether it is time to read a region whole; if not, note the part that is wanted now.

        Parameters
        ----------
        key : str
        part, whole : int
            Bytes of the part that is wanted now, and of the region.
        """
        with self._parts:
            reads, read = self._partly.pop(key, (0, 0))
            due = reads + 1 >= _READS_BEFORE or (read + part) * _COST_SHARE >= whole
            if not due:
                self._partly[key] = (reads + 1, read + part)
        return due


class HeldRegion:
    """A box of a stored array from which patches are cut.

    Parameters
    ----------
    cache : RegionCache or None
        None where nothing is to be held but chunks, by the cache that the process has for them; otherwise these are
        left out of it, so that all that is held is in one cache.
    key : str
        Tells what it is a box of.
    box : tuple of ndarray of int64
        Begin and end, in voxels of the array.
    itemsize : int
        Bytes of a voxel as it is held.
    read : callable
        Gives a box of the array, by begin and end, in the form in which it is held: one array or several.
    """

    def __init__(
        self,
        cache: RegionCache | None,
        key: str,
        box: tuple[VoxelIndex, VoxelIndex],
        itemsize: int,
        read: Callable[[VoxelIndex, VoxelIndex], Arrays],
    ) -> None:
        self.cache = cache
        self.begin, self.end = box[0], np.maximum(*box)
        self.key = f"{key} {self.begin.tolist()} {self.end.tolist()}"
        self.size = int(np.prod(self.end - self.begin)) * itemsize
        self._itemsize = itemsize
        self._read = read

    @property
    def is_held(self) -> bool:
        """Whether it is in memory."""
        return self.cache is not None and self.cache.has(self.key)

    @contextmanager
    def whole(self, begin: VoxelIndex, end: VoxelIndex) -> Iterator[Arrays | None]:
        """Give the whole region if it is cached or worth caching for a reader of this box; else None."""
        cache = self.cache
        if cache is None or np.any(begin < self.begin) or np.any(end > self.end):
            yield None
            return
        with cache.use(self.key) as held:
            if held is not None:
                yield held
                return
        part = int(np.prod(end - begin)) * self._itemsize
        if not cache.can_hold(self.size) or not cache.is_due(self.key, part, self.size):
            yield None
            return
        with cache.use_or_make(self.key, self._make) as made:
            yield made

    @contextmanager
    def part(self, begin: VoxelIndex, end: VoxelIndex) -> Iterator[tuple[Arrays, VoxelIndex]]:
        """Give what holds a box of the array, and where it begins."""
        with self.whole(begin, end) as whole:
            if whole is not None:
                yield whole, self.begin
                return
        with nullcontext() if self.cache is None else passing_through():
            read = read_only(self._read(begin, end))
        yield read, begin

    @contextmanager
    def brought_in(self) -> Iterator[Arrays | None]:
        """Give the whole region, read into the cache if it is not there; None if it cannot be held."""
        if self.cache is None or not self.size or not self.cache.can_hold(self.size):
            yield None
            return
        with self.cache.use_or_make(self.key, self._make) as arrays:
            yield arrays

    def bring_in(self) -> int:
        """Read it into the cache, if it can be held there and is not yet; return its bytes."""
        if self.is_held:
            return self.size
        with self.brought_in() as arrays:
            return 0 if arrays is None else self.size

    def _make(self) -> Arrays:
        with passing_through():  # the region is cached, so its chunks need not be
            return self._read(self.begin, self.end)
