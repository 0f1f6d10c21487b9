"""Boxes of volumes in memory, contiguous, as compiled loops need them; bounded in bytes, one holder per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import passing_through

Index = npt.NDArray[np.int64]
"""Three voxel indices, z, y, x."""

_LARGEST_SHARE = 2
_READS_BEFORE = 6
_COST_SHARE = 2

DEFAULT_BYTES = 200_000_000


class RegionCache:
    """Holds whole regions that patches are cut from, least recently used ones leave first.

    A region is read whole when it has been read from in parts some times, or the parts add up to half of it: a
    crop that is visited once costs no more than its patch, and one that is visited often is read once.

    Parameters
    ----------
    max_bytes : int
        Most bytes held; a region larger than half of it is always read in parts.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._partly: dict[Hashable, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RegionCache], tuple[int]]:
        return type(self), (self.max_bytes,)  # another process starts with an empty one

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._partly.clear()
            self.held_bytes = 0

    def find(self, key: Hashable) -> Any:
        """Return what is held under a key, or None."""
        with self._lock:
            entry = self._held.get(key)
            if entry is None:
                return None
            self._held.move_to_end(key)
            return entry[0]

    def can_hold(self, size: int) -> bool:
        """Tell whether a region of so many bytes may be held."""
        return size <= self.max_bytes // _LARGEST_SHARE

    def is_due(self, key: Hashable, part: int, whole: int) -> bool:
        """Tell whether a region is now to be read whole.

        Parameters
        ----------
        key : hashable
        part, whole : int
            Bytes of the part that is wanted now, and of the region.
        """
        with self._lock:
            reads, read = self._partly.get(key, (0, 0))
            self._partly[key] = (reads + 1, read + part)
        return reads + 1 >= _READS_BEFORE or (read + part) * _COST_SHARE >= whole

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Hold a region of so many bytes."""
        with self._lock:
            if key in self._held or size > self.max_bytes:
                return
            self._held[key] = (value, size)
            self.held_bytes += size
            self._partly.pop(key, None)
            while self.held_bytes > self.max_bytes:
                _, (_, freed) = self._held.popitem(last=False)
                self.held_bytes -= freed


class Region:
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
        self, cache: RegionCache, begin: Index, end: Index, itemsize: int, read: Callable[[Index, Index], Any]
    ) -> None:
        self.cache = cache
        self.begin, self.end = begin, np.maximum(begin, end)
        self.itemsize = itemsize
        self._read = read

    @property
    def is_held(self) -> bool:
        """Whether it is in memory."""
        return self.cache.find(self) is not None

    def whole(self, begin: Index, end: Index) -> Any:
        """Return the whole region, if it is held or is now to be, for who needs a box of it; else None."""
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
        with passing_through():  # the region is held, so its chunks need not be
            value = self._read(self.begin, self.end)
        self.cache.keep(self, value, size)
        return value

    def part(self, begin: Index, end: Index) -> tuple[Any, Index]:
        """Return what holds a box of the array, and where it begins."""
        whole = self.whole(begin, end)
        return (self._read(begin, end), begin) if whole is None else (whole, self.begin)
