"""Digests of what a result depends on, so that work is resumed only where it is the same work."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


def digest_of_files(folder: Path) -> str:
    """Return a digest of all that an array consists of, names and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while piece := stream.read(2**20):
                digest.update(piece)
    return digest.hexdigest()


def digest_of_function(function: Callable[..., Any] | None) -> str | None:
    """Return a digest of a function's code and of the plain values that it takes from its module."""
    if function is None:
        return None
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{type(function).__module__}.{type(function).__qualname__}"
    known = getattr(function, "__globals__", {})
    plain = {name: known[name] for name in code.co_names if isinstance(known.get(name), int | float | str | tuple)}
    text = repr((_code_parts(code), sorted(plain.items()), function.__defaults__))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _code_parts(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_code_parts(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts)
    return code.co_code, code.co_names, constants
