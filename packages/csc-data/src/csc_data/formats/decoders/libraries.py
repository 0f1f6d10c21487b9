"""Blosc, Zstandard and LZ4, called in the libraries that numcodecs brings, without an import of numcodecs.

That import takes a tenth of a second, about as much as scoring a small crop. Its compiled modules have the C functions
of the codecs among their symbols (0.13 to 0.16 on Linux and macOS); where they have not, numcodecs is imported. Blosc
decodes in the thread that calls: threads of its own would be lost in a fork.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_Function = Callable[[int, int, int, int], int]
"""Takes address and length of the source, then of the target; returns how many bytes it put there."""

_LZ4_HEADER = 4
"""Bytes that numcodecs puts before what LZ4 makes."""


def decompress(kind: str, data: Any, size: int, out: Bytes | None = None) -> Any:
    """Undo a compression whose result has a known size.

    Parameters
    ----------
    kind : {"blosc", "lz4", "zstd"}
    data : buffer
        As it is stored; its header was checked.
    size : int
        Bytes that its header declares.
    out : uint8 array, optional
        Memory of at least that size, which may be used for the result.

    Returns
    -------
    buffer
        The result, of that size.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged.

    Examples
    --------
    >>> from numcodecs import LZ4
    >>> bytes(decompress("lz4", LZ4().encode(b"12345678" * 4), 32)[:8])
    b'12345678'
    """
    function = find_function(kind)
    if function is None:
        return importlib.import_module(f"numcodecs.{kind}").decompress(data)
    target = np.empty(size, np.uint8) if out is None else out[:size]
    source = np.frombuffer(data, np.uint8)
    if function(source.ctypes.data, len(source), target.ctypes.data, size) != size:
        raise ValueError(f"{kind} cannot decode it")
    return target.data


@functools.cache
def find_function(kind: str) -> _Function | None:
    """Return the function that decodes; None where no library shows it."""
    library = _open_library(kind)
    try:
        return _FUNCTIONS[kind](library)
    except AttributeError:
        return None


def _open_library(kind: str) -> ctypes.CDLL | None:
    """Open a compiled module of numcodecs as what it is besides: a library of C functions."""
    package = importlib.util.find_spec("numcodecs")
    for folder in (package and package.submodule_search_locations) or ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder, kind + suffix)
            if path.exists():
                try:
                    return ctypes.CDLL(str(path))
                except OSError:
                    continue
    return None


def _blosc(library: Any) -> _Function:
    function = library.blosc_decompress_ctx
    function.restype, function.argtypes = (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int],
    )
    return lambda source, _, target, size: int(function(source, target, size, 1))


def _lz4(library: Any) -> _Function:
    function = library.LZ4_decompress_safe
    function.restype, function.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    return lambda source, length, target, size: int(function(source + _LZ4_HEADER, target, length - _LZ4_HEADER, size))


def _zstd(library: Any) -> _Function:
    function = library.ZSTD_decompress
    types = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
    function.restype, function.argtypes = ctypes.c_size_t, types
    return lambda source, length, target, size: int(function(target, size, source, length))


_FUNCTIONS: dict[str, Callable[[Any], _Function]] = {"blosc": _blosc, "lz4": _lz4, "zstd": _zstd}
