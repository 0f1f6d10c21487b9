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

_ENCODERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")

# Result, then arguments of each kernel: p pointer, i int64, d double, b int.
_SIGNATURES = {
    **{f"encode_{name}": "i pppiipppppi" for name in _ENCODERS},
    "join_boxes": "i iiippppppbipppp",
    "count_pairs": "b pppppp",
    "label": "i ppppiibp",
    "first_voxels_fortran": "b pppiip",
    "measure": "b ppppiipp",
    "overlaps": "i ppppppppiip",
    "take_overlaps": "b ppp",
    "assign": "b iippppppp",
    "group": "b ppppiiipp",
    "hausdorff": "b ippppdppppp",
    "blur_f4": "b ppppppppp",
    "blur_f8": "b ppppppppp",
    "blur_u1": "b ppppppppp",
    "interpolate_f4": "b ppppppppppp",
    "interpolate_f8": "b ppppppppppp",
}
_TYPES: dict[str, Any] = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double, "b": ctypes.c_int}


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
    for kernel, signature in _SIGNATURES.items():
        result, arguments = signature.split()
        function = library[f"csc_{kernel}"]
        function.restype = _TYPES[result]
        function.argtypes = [_TYPES[letter] for letter in arguments]
        # `library.name` is kept by ctypes, `library[name]` is not.
        setattr(library, f"csc_{kernel}", function)
    return library


def _pointer(argument: object) -> object:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("kernels take C-contiguous arrays")
        return argument.ctypes.data
    return argument


def call(name: str, *arguments: object) -> int:
    """Call a kernel; arrays go as pointers, None as NULL.

    The caller answers for dtypes and lengths of arrays; the kernels' sources say which they take.
    """
    result: int = getattr(_library(), f"csc_{name}")(*map(_pointer, arguments))
    return result
