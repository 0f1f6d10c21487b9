"""Compiling loops with numba: when they are first called, kept in its cache on disk, and free of the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

FAST = frozenset({"contract", "nsz", "arcp"})
"""Reordering that changes no more than rounding; NaN and infinities keep their meaning."""


def compiled(*, fastmath: frozenset[str] = frozenset()) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that has a function of arrays and numbers compiled."""

    def decorate(function: FunctionT) -> FunctionT:
        options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
        if fastmath:
            options["fastmath"] = set(fastmath)
        return cast("FunctionT", numba.njit(**options)(function))

    return decorate
