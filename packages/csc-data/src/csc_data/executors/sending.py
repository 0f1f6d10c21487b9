"""Work that is sent to other processes with each task, but unpacked once in each of them."""

from __future__ import annotations

import pickle
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

R = TypeVar("R")

_KEPT = 2  # the one that goes on, and the one that begins; they may hold much memory
_known: OrderedDict[str, Any] = OrderedDict()


class _Sent:
    """A callable that becomes the same object in a process however often it arrives there."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._key, self._packed = uuid.uuid4().hex, pickle.dumps(function)

    def __call__(self, *arguments: Any) -> Any:
        return _unpack(self._key, self._packed)(*arguments)

    def __reduce__(self) -> tuple[Callable[[str, bytes], Any], tuple[str, bytes]]:
        return _unpack, (self._key, self._packed)


def send_once(function: Callable[..., R], executor: Executor) -> Callable[..., R]:
    """Return what to submit in place of a function, so that what it keeps lasts from one task to the next.

    It is pickled here and now, and unpickled once in each process. Threads share it as it is, and what cannot be
    pickled by itself is left to the executor.
    """
    if isinstance(executor, ThreadPoolExecutor):
        return function
    try:
        return _Sent(function)
    except (pickle.PicklingError, TypeError, AttributeError):
        return function


def _unpack(key: str, packed: bytes) -> Any:
    if key not in _known:
        _known[key] = pickle.loads(packed)  # noqa: S301  # from who gave the task
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return _known[key]
