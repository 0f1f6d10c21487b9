"""What is decoded stays in memory up to a number of bytes; a process has one cache of chunks for all its volumes.

What was least recently used leaves first. A chunk that several threads ask for at once is loaded once. That a chunk is
missing is remembered too, so that empty parts of a volume are not asked for again. A forked or spawned process starts
with an empty cache of its own.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError

if TYPE_CHECKING:
    from typing import Self

DEFAULT_BYTES = 1 << 28
"""256 MiB: 1,000 chunks of 64^3 bytes, enough for the neighbours of a block or a patch."""

VARIABLE = "CSC_CACHE_BYTES"
"""Environment variable with the most bytes that the shared cache holds."""

ENTRY_BYTES = 512
"""What a chunk costs besides its voxels: keys and the objects around it."""

Chunk = npt.NDArray[Any] | None
"""A decoded chunk, read-only, or None for one that is not stored."""

Key = Hashable

ValueT = TypeVar("ValueT")


class ByteCache(Generic[ValueT]):
    """Holds values up to a number of bytes, the least recently used leave first; safe to use from many threads.

    A copy for another process is empty.

    Parameters
    ----------
    max_bytes : int
        Most bytes held; 0 holds nothing.

    Examples
    --------
    >>> cache = ByteCache(max_bytes=100)
    >>> cache.keep("a", "first", 60)
    >>> cache.keep("b", "second", 60)  # there is no room for both
    >>> cache.find("a"), cache.find("b"), cache.held_bytes
    (None, 'second', 60)
    >>> cache.drop("b")
    >>> cache.held_bytes
    0
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise InvalidArgumentError(f"max_bytes must be at least 0, got {max_bytes}")
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._held: OrderedDict[Key, tuple[ValueT, int]] = OrderedDict()
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.max_bytes,)

    @property
    def max_bytes(self) -> int:
        """Most bytes that are held."""
        return self._max_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes that are held now; never more than `max_bytes`."""
        return self._held_bytes

    def find(self, key: Key) -> ValueT | None:
        """Return what is held under a key, or None."""
        with self._lock:
            entry = self._held.get(key)
            if entry is None:
                return None
            self._held.move_to_end(key)
            return entry[0]

    def keep(self, key: Key, value: ValueT, size: int) -> None:
        """Hold a value of so many bytes in place of what is held under its key, unless it is too large."""
        with self._lock:
            self.drop(key)
            if size <= self._max_bytes:
                self._make_room(size)
                self._held[key] = (value, size)
                self._held_bytes += size

    def drop(self, key: Key) -> None:
        """Forget what is held under a key."""
        with self._lock:
            _, freed = self._held.pop(key, (None, 0))
            self._held_bytes -= freed

    def resize(self, max_bytes: int) -> None:
        """Set the most bytes that are held; what is too much leaves at once.

        Examples
        --------
        >>> cache = ByteCache(max_bytes=100)
        >>> cache.keep("a", "first", 60)
        >>> cache.resize(50)
        >>> cache.find("a") is None
        True
        """
        if max_bytes < 0:
            raise InvalidArgumentError(f"max_bytes must be at least 0, got {max_bytes}")
        with self._lock:
            self._max_bytes = max_bytes
            self._make_room(0)

    def clear(self) -> None:
        """Forget everything.

        Examples
        --------
        >>> cache = ByteCache(max_bytes=100)
        >>> cache.keep("a", "first", 60)
        >>> cache.clear()
        >>> cache.held_bytes
        0
        """
        with self._lock:
            self._held.clear()
            self._held_bytes = 0

    def _make_room(self, size: int) -> None:
        while self._held and self._held_bytes + size > self._max_bytes:
            _, (_, freed) = self._held.popitem(last=False)
            self._held_bytes -= freed


class ChunkCache(ByteCache[tuple[Hashable, Chunk]]):
    """Holds decoded chunks, each with the stamp that tells one state of the stored chunk from the next."""

    large_share = 2
    """Reads of more than one part in this many of it pass it by: they would only empty it."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(max_bytes)
        self._loading: dict[Key, _Loading] = {}

    def takes(self, read_bytes: int) -> bool:
        """Tell whether the chunks of a read of so many bytes are worth holding."""
        return read_bytes * self.large_share <= self.max_bytes

    def chunks(
        self,
        wanted: Sequence[tuple[Key, Hashable]],
        load: Callable[[list[int]], Iterable[tuple[int, Chunk]]],
        *,
        keep: bool = True,
    ) -> Iterator[tuple[int, Chunk]]:
        """Give chunks in the order in which they become known: those that are held, then those that are loaded.

        Parameters
        ----------
        wanted : sequence of (key, stamp)
            The stamp is what tells one state of the stored chunk from the next; a held chunk with another stamp is
            loaded again.
        load : callable
            Takes the numbers, in ``wanted``, of the chunks to load and gives each with its number, in any order.
        keep : bool
            Whether chunks that are loaded are held.

        Yields
        ------
        number : int
            Position in ``wanted``.
        chunk : ndarray or None
        """
        keep = keep and not getattr(_passing, "through", False)
        held, mine, others = self._sort_out(wanted)
        yield from held
        if mine:
            try:
                for number, chunk in load(sorted(mine)):
                    if chunk is not None:
                        chunk.flags.writeable = False
                    self._finish(wanted[number], mine.pop(number), chunk, keep=keep)
                    yield number, chunk
            finally:
                self._give_up(wanted, mine)
        missed = []
        for number, loading in others:
            loading.done.wait()
            if loading.failed:
                missed.append(number)
            else:
                yield number, loading.chunk
        if missed:  # another thread gave up on them; ask by ourselves, to fail with an error of our own
            for position, chunk in self.chunks(
                [wanted[n] for n in missed], lambda some: _renumbered(load, missed, some), keep=keep
            ):
                yield missed[position], chunk

    def _sort_out(
        self, wanted: Sequence[tuple[Key, Hashable]]
    ) -> tuple[list[tuple[int, Chunk]], dict[int, _Loading], list[tuple[int, _Loading]]]:
        """Tell which chunks are held, which are ours to load, and which another thread is loading."""
        held: list[tuple[int, Chunk]] = []
        mine: dict[int, _Loading] = {}
        others: list[tuple[int, _Loading]] = []
        find, use = self._held.get, self._held.move_to_end
        with self._lock:
            for number, item in enumerate(wanted):
                key, stamp = item
                entry = find(key)
                if entry is not None and entry[0][0] == stamp:
                    use(key)
                    held.append((number, entry[0][1]))
                    continue
                loading = self._loading.get(item)
                if loading is None:
                    mine[number] = self._loading[item] = _Loading()
                else:
                    others.append((number, loading))
        return held, mine, others

    def _finish(self, item: tuple[Key, Hashable], loading: _Loading, chunk: Chunk, *, keep: bool) -> None:
        key, stamp = item
        with self._lock:
            self._loading.pop(item, None)
            if keep:
                self.keep(key, (stamp, chunk), _size(chunk))
            else:
                self.drop(key)
        loading.chunk = chunk
        loading.failed = False
        loading.done.set()

    def _give_up(self, wanted: Sequence[tuple[Key, Hashable]], mine: dict[int, _Loading]) -> None:
        with self._lock:
            for number in mine:
                self._loading.pop(wanted[number], None)
        for loading in mine.values():
            loading.done.set()


class _Loading:
    """A chunk that a thread is loading; others wait for it."""

    __slots__ = ("chunk", "done", "failed")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failed = True
        self.chunk: Chunk = None


def _renumbered(
    load: Callable[[list[int]], Iterable[tuple[int, Chunk]]], numbers: list[int], some: list[int]
) -> Iterator[tuple[int, Chunk]]:
    back = {numbers[position]: position for position in some}
    for number, chunk in load(sorted(back)):
        yield back[number], chunk


def _size(chunk: Chunk) -> int:
    if chunk is None:
        return ENTRY_BYTES
    # A view keeps the whole of what it looks at alive.
    base = chunk.base if isinstance(chunk.base, np.ndarray) else chunk
    return max(base.nbytes, chunk.nbytes) + ENTRY_BYTES


def shared_cache() -> ChunkCache:
    """Return the cache of this process, made at its first use with `VARIABLE` bytes, or `DEFAULT_BYTES`.

    Raises
    ------
    InvalidArgumentError
        If the variable is not a number of bytes.

    Examples
    --------
    >>> shared_cache() is shared_cache()
    True
    """
    cache = _shared.get("cache")
    if cache is None:
        cache = _shared.setdefault("cache", ChunkCache(_bytes_from_environment()))
    return cache


def _bytes_from_environment() -> int:
    text = os.environ.get(VARIABLE)
    if not text:
        return DEFAULT_BYTES
    try:
        return max(0, int(text))
    except ValueError as error:
        raise InvalidArgumentError(f"{VARIABLE} must be a number of bytes, got {text!r}") from error


def set_cache_bytes(max_bytes: int) -> None:
    """Set how many bytes of decoded chunks this process holds, and those that are forked from it from now on.

    Spawned processes read ``CSC_CACHE_BYTES``.
    """
    shared_cache().resize(max_bytes)


@contextmanager
def passing_through() -> Iterator[None]:
    """Hold no chunk that this thread loads meanwhile: for who holds what was read in a form of their own."""
    before = getattr(_passing, "through", False)
    _passing.through = True
    try:
        yield
    finally:
        _passing.through = before


_passing = threading.local()
_shared: dict[str, ChunkCache] = {}


def _forget() -> None:
    """Start anew after a fork: another thread may have held the lock, and its chunks are not ours to keep."""
    cache = _shared.pop("cache", None)
    if cache is not None:
        _shared["cache"] = ChunkCache(cache.max_bytes)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forget)
