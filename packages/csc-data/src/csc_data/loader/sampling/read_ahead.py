"""The crops that the next samples come from are read while batches are made."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from csc_data.loader.sampling.visits import Visits

VISITS_AHEAD = 2

_LONGEST_WAIT = 5.0  # seconds, at a fork and at the end, for the crop that is being read

_log = logging.getLogger(__name__)


class ReadAhead:
    """Brings the crops of visits into the cache, in a thread that runs as long as there is something to bring.

    What goes wrong there is dropped: the sample that needs the crop tells it.

    Parameters
    ----------
    visits : Visits
    bring_in : callable
        Reads what patches of a crop, given by its number, are cut from into the cache; returns its bytes.
    max_bytes : int
        What fits into the cache. Where the crops of the visits under way need more, only some are brought: to read
        one in place of another that is still needed would be of no use.
    """

    def __init__(self, visits: Visits, bring_in: Callable[[int], int], max_bytes: int) -> None:
        self.visits, self.bring_in, self.max_bytes = visits, bring_in, max_bytes
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._under_way = range(0)
        self._waiting: deque[int] = deque()
        self._brought: dict[int, tuple[int, int]] = {}  # crop and bytes of each visit
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[type[ReadAhead], tuple[Visits, Callable[[int], int], int]]:
        return ReadAhead, (self.visits, self.bring_in, self.max_bytes)

    def follow(self, under_way: range) -> None:
        """Bring what visits need, and those that come next, unless it was brought.

        Parameters
        ----------
        under_way : range
            The numbers of the visits that samples are made for now.
        """
        if self._process != os.getpid():  # forked: the thread, and what it knew, are the parent's
            self._begin()
        if under_way == self._under_way:
            return
        with self._lock:
            self._under_way = under_way
            ahead = range(under_way.stop, under_way.stop + VISITS_AHEAD)
            # Of the processes that load the same samples each begins with another crop.
            order = [*np.random.default_rng().permutation(under_way).tolist(), *ahead]
            self._brought = {number: what for number, what in self._brought.items() if number in order}
            self._waiting = deque(number for number in order if number not in self._brought)
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(
                    target=_bring_all, args=(weakref.ref(self),), name="read-ahead", daemon=True
                )
                with suppress(RuntimeError):  # no more threads, as at the end of a process
                    self._thread.start()

    def bring_next(self) -> bool:
        """Bring what one visit needs; return whether there was one."""
        with self._lock:
            if not self._waiting:
                self._thread = None
                return False
            number = self._waiting.popleft()
            sizes = dict(self._brought.values())
        crop = size = 0
        try:
            crop = self.visits.visit(number).crop
            if crop in sizes or sum(sizes.values()) + max(sizes.values(), default=0) <= self.max_bytes:
                size = self.bring_in(crop)
        except Exception as error:  # noqa: BLE001  # whatever it is, the sample that needs the crop raises its own
            _log.debug("visit %d is not read ahead: %s", number, error)
        with self._lock:
            self._brought[number] = crop, size
        return True


_at_work = threading.Lock()
_paused: list[bool] = []
_ending = threading.Event()


def _bring_all(reference: weakref.ref[ReadAhead]) -> None:
    while True:
        ahead = reference()
        with _at_work:
            if ahead is None or _ending.is_set() or not ahead.bring_next():
                return
        del ahead  # a loader that nobody has any more ends it


def _pause() -> None:
    """Let no fork fall into a read: locks of libraries that it holds would stay closed in the child."""
    _paused.append(_at_work.acquire(timeout=_LONGEST_WAIT))


def _go_on() -> None:
    if _paused.pop():
        _at_work.release()


@atexit.register
def _end() -> None:
    _ending.set()
    if _at_work.acquire(timeout=_LONGEST_WAIT):
        _at_work.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_pause, after_in_parent=_go_on, after_in_child=_go_on)
