"""Digests of what a result depends on, so that work is resumed only where it is the same work."""

from __future__ import annotations

import hashlib
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def digest_of_files(folder: Path) -> str:
    """Return a digest of all that an array consists of, names and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for name, file in files_below(folder):
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - a path object takes as long as reading a chunk
            digest.update(f"{name}\0{os.fstat(stream.fileno()).st_size}\0".encode())
            while piece := stream.read(2**20):
                digest.update(piece)
    return digest.hexdigest()


def files_below(folder: str | os.PathLike[str], prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all files below a folder with their names in it, parts joined by slashes, in the order of these parts."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry


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
