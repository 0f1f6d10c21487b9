"""Memory without a name that a process shares with its workers, and locks on it that a killed process leaves free."""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError

if sys.platform != "win32":
    import fcntl

Arrays = tuple[npt.NDArray[Any], ...]
Content = bytes | npt.NDArray[np.uint8]

_ALIGNMENT = 64
_MOST_WRITTEN = 1 << 30  # at a time; the system takes at most 2 GiB


class SharedMemory:
    """Memory that belongs to the processes that have it: nothing stays when the last one ends, however it ends.

    A page takes no room before it is written. Locks have numbers. They are of the system, on the memory's file, and
    belong to a whole process: threads must agree among themselves, a forked process holds none, and those of a
    process that was killed are free.

    Parameters
    ----------
    size : int
        Bytes.
    writable : int
        How many of them, from the first, can be written through `writable`.
    descriptor : int, optional
        Of memory that another process made; made anew by default.

    Attributes
    ----------
    data : mmap
        All of the memory, read-only.
    writable : mmap
        Its beginning.
    descriptor : int or None
        What another process needs to share it; None where that does not work.

    Raises
    ------
    OSError
        If the system does not give it.
    """

    def __init__(self, size: int, writable: int, descriptor: int | None = None) -> None:
        made = descriptor is None
        self.descriptor = _make_file() if descriptor is None else descriptor
        closing = weakref.finalize(self, os.close, self.descriptor)
        closing.atexit = False
        if made:
            os.ftruncate(self.descriptor, size)
            self.write(0, bytes(writable))  # on a full disk this is an error; a store into a new page would be a signal
            self.try_lock(0, alone=True)
            self.unlock(0)
        # These keep duplicates of the descriptor. To close one would free all locks of the process, so they stay open.
        self.data = mmap.mmap(self.descriptor, size, access=mmap.ACCESS_READ)
        self.writable = mmap.mmap(self.descriptor, writable)

    def write(self, begin: int, content: Content) -> None:
        """Write at a place; an OSError says that the system has no more memory, or the disk is full."""
        rest = memoryview(content)  # type: ignore[arg-type]  # numpy's arrays are such from Python 3.12 on, for mypy
        while len(rest):
            written = os.pwrite(self.descriptor, rest[:_MOST_WRITTEN], begin)
            begin, rest = begin + written, rest[written:]

    @contextmanager
    def locked(self, number: int) -> Iterator[None]:
        """Hold a lock alone, once nobody else holds it."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, number)
        try:
            yield
        finally:
            self.unlock(number)

    def try_lock(self, number: int, *, alone: bool) -> bool:
        """Take a lock, alone or with others, or change how this process holds it; False if another is in the way."""
        try:
            fcntl.lockf(self.descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        return True

    def unlock(self, number: int) -> None:
        """Give a lock back."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, number)


def _make_file() -> int:
    """Return an open file without a name: of memory, or where there is no such thing in the temporary folder."""
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("csc-arrays")
        except OSError:  # forbidden in some containers
            pass
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class OwnMemory:
    """Memory of one process with the same methods, for systems without such files and locks.

    Examples
    --------
    >>> memory = OwnMemory(64, 64)
    >>> memory.write(8, b"1234")
    >>> bytes(memory.data[8:12])
    b'1234'
    >>> memory.try_lock(0, alone=True)
    True
    """

    descriptor = None

    def __init__(self, size: int, writable: int) -> None:
        self.data = self.writable = mmap.mmap(-1, size)

    def write(self, begin: int, content: Content) -> None:
        """Write at a place."""
        self.data[begin : begin + len(content)] = bytes(content)

    @contextmanager
    def locked(self, number: int) -> Iterator[None]:
        """Do nothing: there is no other process."""
        yield

    def try_lock(self, number: int, *, alone: bool) -> bool:
        """Return True."""
        return True

    def unlock(self, number: int) -> None:
        """Do nothing."""


def encode_arrays(arrays: Arrays) -> tuple[list[tuple[int, Content]], int]:
    """Return the parts of arrays as they lie in memory, with their offsets, and the bytes of all.

    Examples
    --------
    >>> parts, size = encode_arrays([np.arange(3, dtype=np.uint8)])
    >>> [offset for offset, _ in parts], size
    ([0, 64], 128)
    """
    header = json.dumps([(array.dtype.str, array.shape) for array in arrays]).encode()
    parts: list[tuple[int, Content]] = [(0, struct.pack("<q", len(header)) + header)]
    end = aligned(8 + len(header))
    for array in arrays:
        parts.append((end, np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
        end = aligned(end + array.nbytes)
    return parts, end


def decode_arrays(memory: mmap.mmap, begin: int) -> Arrays:
    """Return the arrays that lie at a place in memory, as views of it.

    Examples
    --------
    >>> parts, size = encode_arrays([np.arange(3, dtype=np.uint8)])
    >>> memory = bytearray(size)
    >>> for offset, content in parts:
    ...     memory[offset : offset + len(bytes(content))] = bytes(content)
    >>> decode_arrays(memory, 0)[0].tolist()
    [0, 1, 2]
    """
    (length,) = struct.unpack_from("<q", memory, begin)
    offset = aligned(8 + length)
    arrays = []
    for kind, shape in json.loads(memory[begin + 8 : begin + 8 + length]):
        arrays.append(np.ndarray(shape, dtype=kind, buffer=memory, offset=begin + offset))
        offset = aligned(offset + arrays[-1].nbytes)
    return read_only(arrays)


def aligned(place: int) -> int:
    """Return the first place from there on at which an array may begin.

    Examples
    --------
    >>> aligned(0), aligned(1)
    (0, 64)
    """
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def read_only(arrays: Iterable[npt.NDArray[Any]]) -> Arrays:
    """Return views of arrays of numbers that cannot be written to.

    Examples
    --------
    >>> (view,) = read_only([np.arange(3)])
    >>> view.flags.writeable
    False
    """
    views = []
    for array in arrays:
        if array.dtype.kind not in "biufc":
            raise InvalidArgumentError(f"arrays of numbers can be held, not of {array.dtype}")
        views.append(array.view())
        views[-1].flags.writeable = False
    return tuple(views)
