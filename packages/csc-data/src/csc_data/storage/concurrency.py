"""Many waiting requests side by side, in threads that nobody has to wait for.

The executors of the standard library join their threads when the interpreter ends: after Ctrl-C one would wait for
every request that stands still. These threads look at an event instead, and die with the process. Threads it is, not
asyncio: a small object costs half the processor time that obstore's coroutines take for it (``benchmarks/fetch.py``).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOOK_SECONDS = 0.2  # a wait without end could not be interrupted on Windows


class Pool:
    """Threads that work for any number of `Stream`, the urgent ones first; a context that ends them.

    Parameters
    ----------
    workers : int
        Most threads; they are started as work comes.
    stop : threading.Event
        When it is set, nothing further is begun.
    """

    def __init__(self, workers: int, stop: threading.Event) -> None:
        self.workers, self.stop = workers, stop
        self._closed = False
        self._busy: list[bool] = []  # by thread
        self._urgent: deque[tuple[Stream[Any, Any], Sequence[Any]]] = deque()
        self._others: deque[tuple[Stream[Any, Any], Sequence[Any]]] = deque()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each task, as threads can wait for one

    def submit(self, stream: Stream[Any, Any], items: Sequence[Any], *, urgent: bool) -> None:
        """Take a task: some items of a stream."""
        (self._urgent if urgent else self._others).append((stream, items))
        self._tokens.put(None)
        if len(self._busy) < self.workers:
            number = len(self._busy)
            self._busy.append(False)
            threading.Thread(target=self._run, args=(number,), name=f"fetch-{number}", daemon=True).start()

    @property
    def stopping(self) -> bool:
        """Whether nothing further is to be begun."""
        return self._closed or self.stop.is_set()

    @property
    def ended(self) -> bool:
        """Whether work was stopped, and none is under way."""
        return self.stopping and not any(self._busy)

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        self._closed = True
        for _ in self._busy:
            self._tokens.put(None)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, number: int) -> None:
        while True:
            self._tokens.get()
            # Said first, so that whoever stops and then sees nobody busy can rely on that.
            self._busy[number] = True
            if self.stopping:
                self._busy[number] = False
                return
            # A token may be another task's; there are as many tasks as tokens.
            stream, items = (self._urgent or self._others).popleft()
            stream.run(items)
            self._busy[number] = False


class Stream(Generic[T, R]):
    """Work that is given to a pool bit by bit; iterating gives (item, result) as they come, until all have come.

    Parameters
    ----------
    pool : Pool
    work : callable
        Called for each item. What it raises is raised where the results are taken, and no further item is begun.
    batch_size : int
        Most items that a thread takes at a time.

    Examples
    --------
    >>> import threading
    >>> with Pool(2, threading.Event()) as pool:
    ...     stream = Stream(pool, abs)
    ...     stream.put([-1, -2, 3])
    ...     print(sorted(stream))
    [(-2, 2), (-1, 1), (3, 3)]
    """

    def __init__(self, pool: Pool, work: Callable[[T], R], *, batch_size: int = 1) -> None:
        self.pool, self.work, self.batch_size = pool, work, batch_size
        self.waiting = 0
        self._ended = False
        self._results: queue.SimpleQueue[tuple[T, Any, BaseException | None]] = queue.SimpleQueue()

    def put(self, items: Sequence[T], *, urgent: bool = False) -> None:
        """Give items; they are begun in their order, urgent ones before those that are not, of all streams."""
        self.waiting += len(items)
        # Large enough to save hand-overs, small enough that all threads end at about the same time.
        size = max(1, min(self.batch_size, len(items) // (4 * self.pool.workers)))
        for begin in range(0, len(items), size):
            self.pool.submit(self, items[begin : begin + size], urgent=urgent)

    def run(self, items: Sequence[T]) -> None:
        """Do some items, in the thread that calls."""
        for item in items:
            if self._ended or self.pool.stopping:
                return
            try:
                self._results.put((item, self.work(item), None))
            except BaseException as error:  # noqa: BLE001 (raised again by who waits for the results)
                self._ended = True
                self._results.put((item, None, error))

    def ready(self) -> Iterator[tuple[T, R]]:
        """Give the results that are there, without waiting."""
        while True:
            try:
                answer = self._results.get_nowait()
            except queue.Empty:
                return
            yield self._opened(answer)

    def __iter__(self) -> Iterator[tuple[T, R]]:
        while self.waiting:
            try:
                answer = self._results.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if not self.pool.ended:
                    continue
                yield from self.ready()
                return
            yield self._opened(answer)

    def _opened(self, answer: tuple[T, Any, BaseException | None]) -> tuple[T, R]:
        item, result, error = answer
        self.waiting -= 1
        if error is not None:
            raise error
        return item, result


def map_unordered(
    work: Callable[[T], R], items: Sequence[T], *, workers: int, stop: threading.Event, batch_size: int = 1
) -> Iterator[tuple[T, R]]:
    """Call ``work`` for each item in threads of their own and yield (item, result) as they come; see `Stream`.

    Examples
    --------
    >>> import threading
    >>> sorted(map_unordered(abs, [-1, -2, 3], workers=2, stop=threading.Event()))
    [(-2, 2), (-1, 1), (3, 3)]
    """
    with Pool(max(1, min(workers, len(items))), stop) as pool:
        stream = Stream(pool, work, batch_size=batch_size)
        stream.put(items)
        yield from stream
