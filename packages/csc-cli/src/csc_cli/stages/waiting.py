"""What takes no longer than it may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what a function returns, or raise what it raises, if it is done in time.

    It goes on in a thread of its own that keeps nobody waiting: what hangs in a library cannot be stopped.

    Raises
    ------
    TimeoutError
        If it is not.

    Examples
    --------
    >>> within(5, lambda: 7)
    7
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  # raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]
