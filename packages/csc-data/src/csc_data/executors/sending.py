"""Work that is sent to other processes with each task, but unpacked once in each of them."""

from __future__ import annotations

import pickle
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

R = TypeVar("R")

_KEPT = 4  # those that go on at the same time; they may hold much memory
_known: OrderedDict[str, Any] = OrderedDict()


class _Sent:
    """A callable that is the same object in a process however often it arrives there.

    It stays packed where it only passes through, as in Dask's scheduler, which may lack the modules.
    """

    def __init__(self, key: str, packed: bytes) -> None:
        self._key, self._packed = key, packed

    def __call__(self, *arguments: Any) -> Any:
        if self._key not in _known:
            _known[self._key] = pickle.loads(self._packed)  # noqa: S301  # from who gave the task
            while len(_known) > _KEPT:
                _known.popitem(last=False)
        return _known[self._key](*arguments)


def send_once(function: Callable[..., R], executor: Executor) -> Callable[..., R]:
    """Return what to submit in place of a function, so that what it keeps lasts from one task to the next.

    It is pickled here and now, and unpickled once in each process. Threads share it as it is, and what cannot be
    pickled by itself is left to the executor.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(1) as executor:
    ...     send_once(len, executor) is len
    True
    """
    if isinstance(executor, ThreadPoolExecutor):
        return function
    try:
        return _Sent(uuid.uuid4().hex, pickle.dumps(function))
    except (pickle.PicklingError, TypeError, AttributeError):
        return function
