"""Compiling loops with numba: when they are first called, kept on disk (`code_cache`), and free of the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from csc_data.loader.code_cache import CodeCache

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

FAST = frozenset({"contract", "nsz", "arcp"})
"""Reordering that changes no more than rounding; NaN and infinities keep their meaning."""


def compiled(*, fastmath: frozenset[str] = frozenset(), inline: bool = False) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that has a function of arrays and numbers compiled.

    Loops may call each other and use constants of their modules; what is kept of them is found again only as long as
    all of that is as it was.

    Parameters
    ----------
    fastmath : frozenset of str
        What the compiler may do to arithmetic, such as `FAST`.
    inline : bool
        Whether it becomes a part of the loops that call it: a call counts references to each array, which for a row of
        64 voxels takes as long as the row.
    """

    def decorate(function: FunctionT) -> FunctionT:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        if fastmath:
            options["fastmath"] = set(fastmath)
        if inline:
            options["inline"] = "always"
        dispatcher = numba.njit(**options)(function)
        if dispatcher is not function:  # which it is under NUMBA_DISABLE_JIT
            dispatcher._cache = CodeCache(function, options)
        return cast("FunctionT", dispatcher)

    return decorate
