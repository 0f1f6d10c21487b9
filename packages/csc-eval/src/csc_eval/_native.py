"""The compiled kernels (``native/*.c``), loaded through ctypes and called with checked NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import CscError

Array = npt.NDArray[Any]

_TYPES: dict[type, Any] = {int: ctypes.c_int64, float: ctypes.c_double, bool: ctypes.c_int}
_FUNCTIONS_WITH_RESULT = {"csc_label", "csc_overlaps"}


class KernelsMissingError(CscError, ImportError):
    """The compiled library is not beside the package."""


class KernelMemoryError(CscError, MemoryError):
    """A kernel found no memory for its tables."""


@functools.cache
def _library() -> ctypes.CDLL:
    name = {"win32": "_kernels.dll", "darwin": "_kernels.dylib"}.get(sys.platform, "_kernels.so")
    path = Path(__file__).with_name(name)
    if not path.exists():
        raise KernelsMissingError(
            f"{path} is missing: csc-eval was not installed, or was built for another platform; "
            "`pip install csc-eval` (or `pip install -e packages/csc-eval` in a checkout) puts it there"
        )
    library = ctypes.CDLL(str(path))
    for name in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        library[f"csc_encode_{name}"].restype = ctypes.c_int64
    for name in _FUNCTIONS_WITH_RESULT:
        library[name].restype = ctypes.c_int64
    return library


def _convert(argument: object) -> object:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("kernels take C-contiguous arrays")
        return ctypes.c_void_p(argument.ctypes.data)
    if argument is None:
        return ctypes.c_void_p(None)
    converter = _TYPES.get(type(argument))
    return argument if converter is None else converter(argument)


def call(name: str, *arguments: object) -> int:
    """Call a kernel: arrays go as pointers, int as int64, float as double, bool as int, None as NULL.

    The caller answers for dtypes and lengths; the kernels' source says which they take.
    """
    result: int = _library()[f"csc_{name}"](*map(_convert, arguments))
    return result
