"""Where compiled loops are kept, so that they are compiled once and not by each process.

numba's own cache is not used. It refuses to work where it may not write, so it can neither read what an image was
built with nor do without a home; two processes that compile at once can put one's code under the other's signature;
and it imports a second's worth of numba's compiler before it reads anything.

A file holds the code of one function for one signature, processor and version of everything: all of that is in its
name. It appears whole or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import numba
import numpy as np
import platformdirs
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

_DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFolder:
    """A folder that may hold compiled code.

    Attributes
    ----------
    path : Path
    private : bool
        Whether others could have made it: to load code is to run it, so it counts only if it belongs to this user and
        nobody else may write to it. The package's own folder is as good as the package, and NUMBA_CACHE_DIR as good
        as who set it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = CodeFolder(path=Path(path), private=True)
    ...     print(folder.is_trusted(), folder.can_be_written())
    ...     folder.write("loop", b"code")
    ...     print(folder.read("loop"), folder.read("other"))
    True True
    b'code' None
    """

    path: Path
    private: bool

    def is_trusted(self) -> bool:
        """Return whether what lies here may be loaded."""
        if not self.private or not hasattr(os, "geteuid"):  # Windows, where these folders are the user's alone
            return True
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and _is_own(found)

    def can_be_written(self) -> bool:
        """Return whether files can be made here; makes the folder."""
        try:
            self.path.mkdir(mode=0o700 if self.private else 0o777, parents=True, exist_ok=True)
            if not self.is_trusted():
                return False
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it is not there, damaged, or not to be trusted."""
        try:
            with (self.path / name).open("rb") as file:
                # Of the open file: the folder may have been exchanged since it was looked at.
                if self.private and not _is_own(os.fstat(file.fileno())):
                    return None
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return None
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file; whoever reads meanwhile finds all of it or nothing."""
        unfinished = self.path / f".{name}.{uuid.uuid4().hex}"
        try:
            # An image is built by root and run by others, who read it; nobody else ever writes.
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            descriptor = os.open(unfinished, flags, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            unfinished.replace(self.path / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            _log.debug("compiled code is not kept: %s", error)


def _is_own(found: os.stat_result) -> bool:
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def candidate_folders() -> Iterator[CodeFolder]:
    """Yield the folders for compiled code, the best first."""
    if numba.config.CACHE_DIR:
        yield CodeFolder(path=Path(numba.config.CACHE_DIR) / "csc_data_loader", private=False)
    yield CodeFolder(path=Path(__file__).parent / "__pycache__", private=False)
    cache = Path(platformdirs.user_cache_path("csc", appauthor=False))
    if cache.is_absolute():  # where neither HOME nor the system's list of users knows a home, it is a relative "~"
        yield CodeFolder(path=cache / "compiled", private=True)
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    try:
        yield CodeFolder(path=Path(tempfile.gettempdir()) / f"csc-compiled-{user}", private=True)
    except FileNotFoundError:  # no folder of the machine can be written to
        return


@functools.cache
def code_folders() -> tuple[tuple[CodeFolder, ...], CodeFolder | None]:
    """Return the folders that are read, and the one that is written to, if there is one: the first that can be."""
    read: list[CodeFolder] = []
    for folder in candidate_folders():
        if folder.can_be_written():
            return (*read, folder), folder
        if folder.is_trusted():
            read.append(folder)
    return tuple(read), None


@functools.cache
def _announce() -> None:
    """Say once what takes so long, and why, if it will take so long again."""
    _, kept = code_folders()
    if kept is None:
        tried = ", ".join(str(folder.path) for folder in candidate_folders())
        _log.warning(
            "compiling the loader's loops, some 10 to 15 s, for this process alone: no folder for the result can be "
            "written to (%s); set NUMBA_CACHE_DIR to one that can",
            tried,
        )
    else:
        _log.info("compiling the loader's loops, once, some 10 to 15 s; they are kept in %s", kept.path)


class CodeCache(NullCache):  # type: ignore[misc]  # numba has no types
    """The compiled variants of one function; numba's dispatcher asks it before it compiles, and tells it afterwards.

    Parameters
    ----------
    function : callable
        What is compiled.
    options : mapping
        How.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function = function
        self._options = _in_order(options)

    @property
    def cache_path(self) -> str | None:
        """Where code is kept."""
        _, kept = code_folders()
        return None if kept is None else str(kept.path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature; None if it was not compiled yet."""
        name = self._file_name(sig, target_context)
        for folder in code_folders()[0]:
            content = folder.read(name)
            if content is not None:
                # All that finished code needs; numba would get ready for compiling here, which takes a second.
                rtsys.initialize(target_context)
                return CompileResult._rebuild(target_context, *pickle.loads(content))  # noqa: S301  # see CodeFolder
        _announce()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        _, kept = code_folders()
        if kept is None or data.lifted or data.library.has_dynamic_globals:
            return
        kept.write(self._file_name(sig, data.target_context), dumps(data._reduce()))

    def _file_name(self, sig: Any, target_context: Any) -> str:
        versions = (sys.version, numba.__version__)
        machine = target_context.codegen().magic_tuple()
        key = repr((versions, machine, self._options, str(sig), _content(self._function)))
        return f"{self._function.__name__}-{hashlib.sha256(key.encode()).hexdigest()[:40]}.code"


def _content(function: Callable[..., Any]) -> list[Any]:
    """Return all that a function's code is made from: its own, that of functions it calls, and constants."""
    content = _of_code(function.__code__)
    for name in function.__code__.co_names:
        value: Any = function.__globals__.get(name)
        if hasattr(value, "py_func"):
            content.append((name, _in_order(value.targetoptions), _content(value.py_func)))
        elif isinstance(value, np.ndarray):
            content.append((name, value.dtype.str, value.shape, value.tobytes()))
        elif isinstance(value, int | float | str | tuple | np.generic):
            content.append((name, repr(value)))
    return content


def _of_code(code: CodeType) -> list[Any]:
    constants = [_of_code(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return [code.co_code, code.co_names, code.co_varnames, constants]


def _in_order(options: dict[str, Any]) -> str:
    # A set of words has another order in each process.
    return repr(sorted((name, sorted(value) if isinstance(value, set) else value) for name, value in options.items()))
