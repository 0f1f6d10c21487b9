"""Many waiting requests side by side, in threads that nobody has to wait for.

The executors of the standard library join their threads when the interpreter ends: after Ctrl-C one would wait for
every request that stands still. These threads look at an event instead, and die with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_unordered(
    work: Callable[[T], R], items: Sequence[T], *, workers: int, stop: threading.Event, batch_size: int = 1
) -> Iterator[tuple[T, R]]:
    """Call ``work`` for each item in threads and yield (item, result) as they come.

    Parameters
    ----------
    work : callable
        What it raises is raised here, and no further item is begun.
    items : sequence
        Begun in their order.
    workers : int
        Most threads.
    stop : threading.Event
        When it is set, no further item is begun, and the results end.
    batch_size : int
        Most items that a thread takes at a time; towards the end they take fewer.
    """
    results: queue.SimpleQueue[tuple[T, Any, BaseException | None]] = queue.SimpleQueue()
    abandoned = threading.Event()
    lock = threading.Lock()
    position = 0
    count = max(1, min(workers, len(items)))

    def take() -> Sequence[T]:
        nonlocal position
        with lock:
            size = max(1, min(batch_size, (len(items) - position) // (2 * count)))
            taken = items[position : position + size]
            position += len(taken)
            return taken

    def run() -> None:
        while taken := take():
            for item in taken:
                if stop.is_set() or abandoned.is_set():
                    return
                try:
                    results.put((item, work(item), None))
                except BaseException as error:  # noqa: BLE001 (raised again by who waits for the results)
                    results.put((item, None, error))
                    return

    threads = [threading.Thread(target=run, name=f"fetch-{number}", daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(len(items)):
            answer = _next(results, threads)
            if answer is None:
                return
            item, result, error = answer
            if error is not None:
                raise error
            yield item, result
    finally:
        abandoned.set()


def _next(results: queue.SimpleQueue[Any], threads: list[threading.Thread]) -> Any:
    """Return the next result; None when all threads ended, as `stop` was set."""
    while True:
        alive = True
        try:
            # A wait without end could not be interrupted on Windows.
            return results.get(timeout=0.2)
        except queue.Empty:
            alive = any(thread.is_alive() for thread in threads)
        if not alive:
            try:
                return results.get_nowait()
            except queue.Empty:
                return None
