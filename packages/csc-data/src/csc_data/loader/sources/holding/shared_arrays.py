"""Arrays that a process and its workers hold together, up to a number of bytes."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import context, reduction
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.loader.sources.holding.shared_memory import (
    Arrays,
    OwnMemory,
    SharedMemory,
    aligned,
    decode_arrays,
    encode_arrays,
    read_only,
)

Make = Callable[[], Arrays]

# The index is a table of 64-bit numbers, a row for each entry. A change of it takes effect by one store, that of the
# state, so that a process may be killed at any time.
_STATE, _KEY_1, _KEY_2, _GENERATION, _BEGIN, _SIZE, _USED, _COLUMNS = range(8)
_FREE, _MAKING, _READY = range(3)
_FEWEST_ENTRIES, _MOST_ENTRIES, _BYTES_AN_ENTRY = 16, 4096, 1 << 14

_INDEX_LOCK, _FIRST_LOCK = 0, 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds, between looks at what another process makes

_log = logging.getLogger(__name__)


class SharedArrays:
    """Holds tuples of arrays under text keys; what was least recently used leaves first.

    Forked processes share it, as do those that it is given to when they are spawned; any other pickled copy is an
    empty cache of its own. Nothing stays on the machine when the last process ends. On Windows each process has its
    own.

    Parameters
    ----------
    max_bytes : int
        Most bytes that are held by all processes together, the index included.

    Raises
    ------
    InvalidArgumentError
        If it is negative.

    Examples
    --------
    >>> arrays = SharedArrays(1 << 20)
    >>> with arrays.use_or_make("counts", lambda: [np.arange(3)]) as (held,):
    ...     print(held.tolist())
    [0, 1, 2]
    >>> arrays.has("counts"), arrays.is_being_made("counts")
    (True, False)
    >>> arrays.clear()
    >>> with arrays.use("counts") as held:
    ...     print(held)
    None
    """

    # The lock of an entry is held by who makes it, alone, and by all who use it, together: who can take it alone may
    # evict the entry, and a killed process is never in the way. Without the lock of the index an entry can be found
    # again whose generation is the one remembered, since only who held its lock alone could have changed that.

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise InvalidArgumentError(f"max_bytes must be at least 0, got {max_bytes}")
        self._set_up(max_bytes, None)

    def _set_up(self, max_bytes: int, descriptor: int | None) -> None:
        self.max_bytes = max_bytes
        self._size = max_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        entries = min(max(_FEWEST_ENTRIES, self._size // _BYTES_AN_ENTRY), _MOST_ENTRIES)
        self._index_bytes = aligned(entries * 8 * _COLUMNS)
        self._of_process = _OfProcess()
        self._warned = False
        self._has_memory = self._size > 0 and self._get_memory(descriptor)
        if self._has_memory:
            index = np.frombuffer(self._memory.writable, dtype=np.int64, count=entries * _COLUMNS)
            self._index = index.reshape(entries, _COLUMNS)
            _caches.add(self)

    def _get_memory(self, descriptor: int | None) -> bool:
        self._memory: SharedMemory | OwnMemory
        try:
            if sys.platform == "win32":
                self._memory = OwnMemory(self._size, self._index_bytes)
            else:
                self._memory = SharedMemory(self._size, self._index_bytes, descriptor)
        except OSError as error:
            self._warn(error)
            return False
        return True

    def __reduce__(self) -> tuple[Callable[..., SharedArrays], tuple[Any, ...]]:
        descriptor = self._memory.descriptor if self._has_memory else None
        if sys.platform == "win32" or descriptor is None or context.get_spawning_popen() is None:
            return type(self), (self.max_bytes,)
        return _shared_with, (type(self), self.max_bytes, reduction.DupFd(descriptor))

    @property
    def held_bytes(self) -> int:
        """Bytes that are held now, the index included."""
        if not self._has_memory:
            return 0
        return self._index_bytes + int(self._index[self._index[:, _STATE] != _FREE, _SIZE].sum())

    def use(self, key: str) -> AbstractContextManager[Arrays | None]:
        """Return a context with what is held under a key, or None; within the context it stays as it is.

        The arrays are read-only, and must not be used after it.
        """
        return _Use(self, key, None)

    def use_or_make(self, key: str, make: Make) -> AbstractContextManager[Arrays]:
        """Return a context with what is held under a key, made at its begin where nothing is held.

        One process makes it, the others wait for it; if that fails, or the maker is killed, they try themselves. What
        does not fit, or only in place of what is in use, is not held.

        Parameters
        ----------
        key : str
        make : callable
            Returns a tuple of arrays of numbers; what it raises is raised in its own process.
        """
        return _Use(self, key, make)

    def has(self, key: str) -> bool:
        """Tell whether something is held under a key."""
        entry = self._entry_of(key)
        return entry is not None and self._index.item(entry, _STATE) == _READY

    def is_being_made(self, key: str) -> bool:
        """Tell whether a process that lives is making what belongs to a key."""
        if not self._has_memory:
            return False
        with self._alone():
            entry = self._entry_of(key)
            if entry is None or self._index[entry, _STATE] != _MAKING:
                return False
            abandoned = self._take(entry)
            if abandoned:
                self._leave(entry)
            return not abandoned

    def clear(self) -> None:
        """Forget everything that is not in use."""
        if not self._has_memory:
            return
        with self._alone():
            for entry in np.flatnonzero(self._index[:, _STATE] != _FREE).tolist():
                if self._take(entry):
                    self._drop(entry)
                    self._leave(entry)

    def _begin_again(self, key: str) -> tuple[int, Arrays] | None:
        """Begin to use an entry that this process knows, if it is still there."""
        own = self._of_process
        with own.lock:
            known = own.known.get(key)
            if known is None:
                return None
            entry, generation, arrays = known
            if self._index.item(entry, _GENERATION) != generation:  # its lock may now be that of who makes another
                return None
            users = own.users.get(entry, 0)
            if not users:
                if not self._memory.try_lock(_FIRST_LOCK + entry, alone=False):
                    return None
                if self._index.item(entry, _GENERATION) != generation:
                    self._leave(entry)
                    return None
            own.users[entry] = users + 1
            self._index[entry, _USED] = time.monotonic_ns()
            return entry, arrays

    def _begin(self, key: str, make: Make | None) -> tuple[int | None, Arrays | None]:
        """Return the entry of a key, now in use, and its arrays; no entry for arrays that are not held."""
        if not self._has_memory:
            return None, None if make is None else read_only(make())
        own, pause = self._of_process, _FIRST_PAUSE
        while True:
            with own.lock:
                with self._memory.locked(_INDEX_LOCK):
                    entry = self._entry_of(key)
                    if entry is not None and self._index[entry, _STATE] == _READY:
                        return entry, self._first_use(key, entry)
                    if make is None:
                        return None, None
                    if entry is not None and self._take(entry):  # its maker is dead
                        self._drop(entry)
                        self._leave(entry)
                        entry = None
                    if entry is None:
                        mine = self._claim(key)
                        break
                own.changed.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return (None, read_only(make())) if mine is None else self._make(key, mine, make)

    def _end(self, own: _OfProcess, entry: int) -> None:
        if own is not self._of_process:  # forked within the context: the use is the parent's
            return
        with own.lock:
            own.users[entry] -= 1
            if not own.users[entry]:
                del own.users[entry]
                self._leave(entry)

    def _make(self, key: str, entry: int, make: Make) -> tuple[int | None, Arrays]:
        own, written = self._of_process, False
        try:
            arrays = read_only(make())
            written = self._write(entry, arrays)
        finally:
            with own.lock:
                with self._memory.locked(_INDEX_LOCK):
                    own.making.discard(entry)
                    if written:
                        self._index[entry, _STATE] = _READY
                        arrays = self._first_use(key, entry)
                    else:
                        self._drop(entry)
                        self._leave(entry)
                own.changed.notify_all()
        return (entry if written else None), arrays

    def _write(self, entry: int, arrays: Arrays) -> bool:
        parts, size = encode_arrays(arrays)
        with self._alone():
            begin = self._make_room(size)
            if begin is None:
                return False
            self._index[entry, _BEGIN] = begin
            self._index[entry, _SIZE] = size
        try:
            for offset, part in parts:
                self._memory.write(begin + offset, part)
        except OSError as error:
            self._warn(error)
            return False
        return True

    def _first_use(self, key: str, entry: int) -> Arrays:
        """Begin to use an entry that is held; with the lock of the index."""
        own = self._of_process
        users = own.users.get(entry, 0)
        if not users:
            # Always free: only who has the lock of the index takes it alone; its maker holds it alone as this process.
            self._memory.try_lock(_FIRST_LOCK + entry, alone=False)
        own.users[entry] = users + 1
        self._index[entry, _USED] = time.monotonic_ns()
        arrays = decode_arrays(self._memory.data, self._index.item(entry, _BEGIN))
        own.remember(key, entry, self._index.item(entry, _GENERATION), arrays)
        return arrays

    def _entry_of(self, key: str) -> int | None:
        if not self._has_memory:
            return None
        first, second = _digest(key)
        index = self._index
        at = np.flatnonzero((index[:, _KEY_1] == first) & (index[:, _KEY_2] == second) & (index[:, _STATE] != _FREE))
        return int(at[0]) if len(at) else None

    def _claim(self, key: str) -> int | None:
        """Return an entry, locked alone, for what is about to be made; None if all are in use."""
        index = self._index
        order: list[int] = np.lexsort((index[:, _USED], index[:, _STATE] != _FREE)).tolist()
        for entry in order:
            if self._take(entry):
                self._drop(entry)
                index[entry, _KEY_1 : _KEY_2 + 1] = _digest(key)
                index[entry, _USED] = time.monotonic_ns()
                index[entry, _STATE] = _MAKING
                self._of_process.making.add(entry)
                return entry
        return None

    def _make_room(self, size: int) -> int | None:
        """Return where so many bytes are free, once what lies there is evicted; None if too much is in use."""
        index = self._index
        if size > self._size - self._index_bytes:
            return None
        staying = (index[:, _STATE] != _FREE) & (index[:, _SIZE] > 0)
        candidates = np.flatnonzero(staying)
        taken = []
        begin = self._find_gap(staying, size)
        for entry in candidates[np.argsort(index[candidates, _USED])].tolist():
            if begin is not None:
                break
            if self._take(entry):
                taken.append(entry)
                staying[entry] = False
                begin = self._find_gap(staying, size)
        for entry in taken:
            first = index.item(entry, _BEGIN)
            if begin is not None and first < begin + size and begin < first + index.item(entry, _SIZE):
                self._drop(entry)
            self._leave(entry)
        return begin

    def _find_gap(self, staying: npt.NDArray[np.bool_], size: int) -> int | None:
        begins, sizes = self._index[staying, _BEGIN], self._index[staying, _SIZE]
        order = np.argsort(begins)
        ends = np.concatenate([[self._index_bytes], (begins + sizes)[order]])
        fitting = np.flatnonzero(np.append(begins[order], self._size) - ends >= size)
        return int(ends[fitting[0]]) if len(fitting) else None

    def _take(self, entry: int) -> bool:
        """Lock an entry alone if nobody uses it or makes it, here or in another process."""
        own = self._of_process
        if entry in own.users or entry in own.making:
            return False
        return self._memory.try_lock(_FIRST_LOCK + entry, alone=True)

    def _leave(self, entry: int) -> None:
        self._memory.unlock(_FIRST_LOCK + entry)

    def _drop(self, entry: int) -> None:
        """Free an entry that is locked alone."""
        self._index[entry, _GENERATION] += 1
        self._index[entry, _STATE] = _FREE
        self._index[entry, _SIZE] = 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the index, among threads and among processes."""
        with self._of_process.lock, self._memory.locked(_INDEX_LOCK):
            yield

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("data is read again each time, since it cannot be held in shared memory: %s", error)

    def _forget_process(self) -> None:
        self._of_process = _OfProcess()


class _OfProcess:
    """What a process knows of itself; a forked one begins anew, as its parent's threads may have held the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.users: dict[int, int] = {}
        self.making: set[int] = set()
        self.known: dict[str, tuple[int, int, Arrays]] = {}
        self._keys: dict[int, str] = {}

    def remember(self, key: str, entry: int, generation: int, arrays: Arrays) -> None:
        """Keep where the arrays of a key are, in place of what was known of the entry."""
        former = self._keys.get(entry)
        if former is not None:
            self.known.pop(former, None)
        self._keys[entry] = key
        self.known[key] = (entry, generation, arrays)


class _Use(AbstractContextManager[Any]):
    """The context in which arrays are in use."""

    __slots__ = ("_cache", "_entry", "_key", "_make", "_own")

    def __init__(self, cache: SharedArrays, key: str, make: Make | None) -> None:
        self._cache, self._key, self._make = cache, key, make

    def __enter__(self) -> Any:
        cache = self._cache
        self._own = cache._of_process
        self._entry, arrays = cache._begin_again(self._key) or cache._begin(self._key, self._make)
        return arrays

    def __exit__(self, *_: object) -> None:
        if self._entry is not None:
            self._cache._end(self._own, self._entry)


def _digest(key: str) -> tuple[int, int]:
    first, second = struct.unpack("<qq", hashlib.blake2b(key.encode(), digest_size=16).digest())
    return first, second


def _shared_with(kind: type[SharedArrays], max_bytes: int, duplicate: Any) -> SharedArrays:
    """Return the cache of the process that spawned this one."""
    cache = kind(0)
    cache._set_up(max_bytes, duplicate.detach())
    return cache


_caches: weakref.WeakSet[SharedArrays] = weakref.WeakSet()


def _forget_parents() -> None:
    for cache in list(_caches):
        cache._forget_process()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forget_parents)
