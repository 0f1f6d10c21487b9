"""Digests of what a result depends on, so that work is resumed only where it is the same work."""

from __future__ import annotations

import functools
import hashlib
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def digest_of_files(folder: Path) -> str:
    """Return a digest of all that an array consists of, names and contents.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "0.0.0").write_bytes(b"1234")
    ...     before = digest_of_files(Path(folder))
    ...     _ = Path(folder, "0.0.0").write_bytes(b"1235")
    ...     digest_of_files(Path(folder)) == before
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, file in files_below(folder):
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - a path object takes as long as reading a chunk
            digest.update(f"{name}\0{os.fstat(stream.fileno()).st_size}\0".encode())
            while piece := stream.read(2**20):
                digest.update(piece)
    return digest.hexdigest()


def files_below(folder: str | os.PathLike[str], prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all files below a folder with their names in it, parts joined by slashes, in the order of these parts.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "s0").mkdir()
    ...     Path(folder, "s0", "0.0.0").touch()
    ...     [name for name, _ in files_below(folder)]
    ['s0/0.0.0']
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry


def digest_of_function(function: Callable[..., Any] | None) -> str | None:
    """Return a digest of a function's code and defaults, and of all it takes from its module: values and functions.

    Examples
    --------
    >>> digest_of_function(lambda x: x + 1) == digest_of_function(lambda x: x + 1)
    True
    >>> digest_of_function(lambda x: x + 1) == digest_of_function(lambda x: x + 2)
    False
    """
    if function is None:
        return None
    given: tuple[Any, ...] = ()
    while isinstance(function, functools.partial):
        given = (*given, function.args, sorted(function.keywords.items()))
        function = function.func
    if not isinstance(function, types.FunctionType):
        return f"{type(function).__module__}.{type(function).__qualname__}" + (repr(given) if given else "")
    text = repr((_function_parts(function, set()), given))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _function_parts(function: types.FunctionType, seen: set[types.FunctionType]) -> tuple[Any, ...]:
    """Return what a function does, with those of its module that it calls; ``seen`` are left out."""
    seen.add(function)
    code, known = function.__code__, function.__globals__
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    enclosed = {name: cell.cell_contents for name, cell in cells}
    taken = {**{name: known[name] for name in _names(code) if name in known}, **enclosed}
    parts = []
    for name, value in sorted(taken.items()):
        if _is_plain(value):
            parts.append((name, _written(value)))
        elif isinstance(value, types.FunctionType) and value.__globals__ is known and value not in seen:
            parts.append((name, repr(_function_parts(value, seen))))
        elif hasattr(value, "tobytes"):  # an array
            parts.append((name, hashlib.blake2b(value.tobytes(), digest_size=16).hexdigest()))
    return _code_parts(code), parts, function.__defaults__, sorted((function.__kwdefaults__ or {}).items())


def _is_plain(value: Any) -> bool:
    """Return whether a value is told by what it is written as."""
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(entry) for key, entry in value.items())
    return value is None or isinstance(value, int | float | str)


def _written(value: Any) -> str:
    """Return a value as it is written; sets in an order, as theirs is another one in each process."""
    return repr(sorted(map(repr, value))) if isinstance(value, set | frozenset) else repr(value)


def _names(code: types.CodeType) -> set[str]:
    """Return the names that code, and the code within it, looks up."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _code_parts(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_code_parts(c) if isinstance(c, types.CodeType) else _written(c) for c in code.co_consts)
    return code.co_code, code.co_names, constants
