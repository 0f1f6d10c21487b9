"""What names in files of weights stand for: tensors, numbers and arrays of numpy, containers, paths.

Each is made by a function here; the one that a file names is never looked up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch


class DamagedPickleError(ValueError):
    """A pickle ends early, or what it says makes no sense."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a file names."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"

    @property
    def known(self) -> bool:
        """Whether it says something here: there is a function for it, or it is a type of numbers."""
        place = (self.module, self.attribute)
        return place in KNOWN or place == ("numpy", "ndarray") or self.dtype is not None

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of numbers that ``torch.FloatStorage`` or ``torch.float32`` stands for."""
        if self.module not in ("torch", "torch.storage", "torch.cuda"):
            return None
        return STORAGES.get(self.attribute) or _DTYPES.get(self.attribute)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a file holds and that is not read."""

    name: str


class Attributes(dict[str, Any]):
    """A mapping whose entries a pickle sets as attributes."""


class Buildable:
    """Something whose contents follow after it was made."""

    def build(self, state: Any) -> None:
        """Take the contents."""


STORAGES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}


_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers behind tensors, which stand elsewhere in the file."""

    key: str
    dtype: torch.dtype
    length: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that has not been read yet; the fields are those of `torch.as_strided`.

    Raises
    ------
    DamagedPickleError
        They are not those of a tensor that lies within its storage and holds no number twice.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
            raise DamagedPickleError("it has a tensor whose shape is not one")
        if len(self.shape) != len(self.stride) or len(self.shape) > 16:
            raise DamagedPickleError("it has a tensor whose shape is not one")
        count = math.prod(self.shape)
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        # A tensor that shows its numbers many times could be larger than any memory.
        if count and (last >= self.storage.length or count > self.storage.length):
            raise DamagedPickleError("it has a tensor that is larger than what is stored of it")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor | Skipped:
    if not isinstance(storage, Storage):
        return Skipped("a tensor without a storage")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


class _Dtype(Buildable):
    """A type of numpy; the order of its bytes follows."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(?:[biufcSU?]\d{0,3}|bool)", code):
            raise DamagedPickleError("it has an array of objects")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        return Skipped("a scalar of numpy")
    return np.frombuffer(data, dtype.dtype, count=1)[0].item()


class StoredArray(Buildable):
    """An array of numpy, whose contents follow.

    Attributes
    ----------
    values : ndarray
    """

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray[Any, Any] = np.zeros(0)

    def build(self, state: Any) -> None:
        """Take version, shape, type, order and bytes, as `numpy.ndarray.__setstate__` does."""
        _, shape, dtype, by_columns, data = state
        if isinstance(dtype, _Dtype) and isinstance(data, bytes | bytearray):
            self.values = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if by_columns else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> StoredArray:
    """Return an array as pickles of protocol 5 have it."""
    array = StoredArray()
    array.build((1, shape, dtype, order == "F", data))
    return array


def _encoded(text: str, encoding: str = "") -> bytes:
    """Bytes as old pickles have them."""
    return text.encode("latin-1")


def _path(*parts: Any) -> str:
    return str(PurePosixPath(*(part for part in parts if isinstance(part, str))))


def _items(*values: Any) -> list[Any]:
    return list(values[0]) if values and isinstance(values[0], list | tuple) else []


def _pairs(*values: Any) -> dict[str, Any]:
    """A mapping; old pickles give its pairs at once."""
    pairs = values[0] if values and isinstance(values[0], list | tuple) else ()
    return {pair[0]: pair[1] for pair in pairs if isinstance(pair, list | tuple) and isinstance(pair[0], str)}


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _words(*values: Any) -> str:
    return ":".join(str(value) for value in values if isinstance(value, str | int))


KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch", "Size"): _items,
    ("torch", "device"): _words,
    ("torch.serialization", "_get_layout"): _words,
    ("collections", "OrderedDict"): _pairs,
    ("collections", "defaultdict"): lambda *_: {},
    ("collections", "Counter"): lambda *_: {},
    ("collections", "deque"): _items,
    ("_codecs", "encode"): _encoded,
    ("argparse", "Namespace"): lambda *_: Attributes(),
    ("types", "SimpleNamespace"): lambda *_: Attributes(),
    ("numpy", "dtype"): _Dtype,
    **{
        (f"{library}.utilities.{module}", "AttributeDict"): lambda *_: {}
        for library in ("lightning.fabric", "lightning_fabric", "lightning.pytorch", "pytorch_lightning")
        for module in ("data", "parsing")
    },
    **{
        (module, name): make
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, make in (("scalar", _scalar), ("_reconstruct", StoredArray))
    },
    ("numpy.core.numeric", "_frombuffer"): _array,
    ("numpy._core.numeric", "_frombuffer"): _array,
    **{
        (module, name): make
        for module in ("builtins", "__builtin__")
        for name, make in (
            ("set", _items),
            ("frozenset", _items),
            ("list", _items),
            ("dict", _pairs),
            ("bytes", lambda *_: b""),
        )
    },
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    },
}
