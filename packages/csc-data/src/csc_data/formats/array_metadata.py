"""What a stored array says about itself, checked: the same for zarr formats 2 and 3 and for N5."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from csc_data.errors import OddValueError, QuestionableDataError, UnreadableDataError
from csc_data.formats.codecs import Codec
from csc_data.storage.limits import Limits
from csc_data.storage.nodes import Node

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LONGEST_AXIS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """How a shard of zarr format 3 says where its chunks are.

    Attributes
    ----------
    shape : tuple of int
        Chunks of a shard per axis.
    byte_order : {"<", ">"}
        Of the numbers in the index.
    checksum : bool
        Whether a CRC32C follows them.
    at_end : bool
        Whether it is at the end of the file, not at its beginning.
    """

    shape: tuple[int, ...]
    byte_order: Literal["<", ">"]
    checksum: bool
    at_end: bool

    @property
    def size(self) -> int:
        """Its bytes."""
        return 16 * math.prod(self.shape) + 4 * self.checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayMetadata:
    """Metadata of an array whose chunks can be read.

    Attributes
    ----------
    shape : tuple of int
    chunks : tuple of int
        Shape of what is decoded at once: a chunk, or an inner chunk of a shard.
    stored : dtype
        In the file, with its byte order.
    fill : scalar
        Value of chunks that are not stored.
    codecs : tuple of Codec
        In the order in which they were applied to the data.
    axes : tuple of int
        Which axis of the array is the first, the second ... in the file: (2, 1, 0) is Fortran order.
    pattern : str
        The names of chunks, as a format string of their numbers.
    reverse : bool
        Whether names count the axes from the last to the first, as N5 does.
    header : bool
        Whether a header of N5 comes first.
    shard : ShardIndex, optional
        Where several chunks are one file.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    stored: np.dtype[Any]
    fill: Any
    codecs: tuple[Codec, ...]
    axes: tuple[int, ...]
    pattern: str
    reverse: bool = False
    header: bool = False
    shard: ShardIndex | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """In memory."""
        return self.stored.newbyteorder("=")

    @property
    def order(self) -> Literal["C", "F"]:
        """Order of the voxels in a chunk."""
        return "F" if len(self.shape) > 1 and self.axes == tuple(range(len(self.shape)))[::-1] else "C"

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.stored.itemsize


def parse_checked(
    node: Node, file: str, limits: Limits, parse: Callable[[Mapping[str, Any]], ArrayMetadata]
) -> ArrayMetadata:
    """Parse metadata; whatever is wrong with them is one error, with the path and the words.

    Raises
    ------
    UnreadableDataError
        If they are damaged, not supported, or ask for more than the limits allow.
    """
    try:
        metadata = parse(node.metadata or {})
        _check_codecs(metadata, limits)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        kind = QuestionableDataError if isinstance(error, OddValueError) else UnreadableDataError
        raise kind(f"{node.path}: its {file} is damaged or not supported: {words}") from error
    if metadata.chunk_bytes > limits.chunk_bytes:
        raise UnreadableDataError(
            f"{node.path} has chunks of {metadata.chunks} voxels, {metadata.chunk_bytes} bytes each; "
            f"at most {limits.chunk_bytes} are read at once: store it in smaller chunks (128, 128, 128)"
        )
    count = math.prod(-(-n // c) for n, c in zip(metadata.shape, metadata.chunks, strict=True))
    if count > limits.chunks:
        raise UnreadableDataError(
            f"{node.path} has {count} chunks of {metadata.chunks} voxels, at most {limits.chunks} are read: "
            "store it in larger chunks (128, 128, 128)"
        )
    return metadata


def _check_codecs(metadata: ArrayMetadata, limits: Limits) -> None:
    named = [codec.name for codec in metadata.codecs]
    named += ["sharding_indexed"] if metadata.shard is not None else []
    named += ["transpose"] if metadata.order == "C" and metadata.axes != tuple(range(len(metadata.axes))) else []
    for name in named:
        if limits.codecs is not None and name not in limits.codecs:
            raise ValueError(f"a codec {name!r}, expected one of {', '.join(sorted(limits.codecs))}")


def parse_sizes(values: Any, least: int = 0, axes: int | None = None) -> tuple[int, ...]:
    """Return whole numbers as a tuple.

    Raises
    ------
    ValueError
        If they are not whole numbers, out of range, or not one for each axis.

    Examples
    --------
    >>> parse_sizes([64, 64, 64], least=1, axes=3)
    (64, 64, 64)
    >>> parse_sizes([64, 64], axes=3)
    Traceback (most recent call last):
        ...
    ValueError: sizes [64, 64], expected whole numbers of at least 0, one for each axis
    """
    numbers = tuple(values) if isinstance(values, list | tuple) else ()
    good = all(isinstance(n, int) and not isinstance(n, bool) and least <= n < _LONGEST_AXIS for n in numbers)
    if not good or not numbers or len(numbers) != (axes or len(numbers)):
        raise ValueError(f"sizes {values!r}, expected whole numbers of at least {least}, one for each axis")
    return numbers


def parse_dtype(text: Any) -> np.dtype[Any]:
    """Return a data type of numbers.

    Raises
    ------
    ValueError
        If it is of anything else.

    Examples
    --------
    >>> parse_dtype("<u2")
    dtype('uint16')
    >>> parse_dtype("O")
    Traceback (most recent call last):
        ...
    ValueError: values of type 'O', expected bool, integers or floats
    """
    # Only plain names: np.dtype would also take lists, dicts and object types.
    dtype = np.dtype(text) if isinstance(text, str) and len(text) < 16 else None
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"values of type {text!r}, expected bool, integers or floats")
    return dtype


def chunk_pattern(axes: int, separator: Any, *prefix: str) -> str:
    """Return the names of chunks, as a format string of their numbers.

    >>> chunk_pattern(3, "/", "c") % (0, 1, 2)
    'c/0/1/2'

    Raises
    ------
    ValueError
        If it is neither "." nor "/".
    """
    if separator not in (".", "/"):
        raise OddValueError(f"chunk indices separated by {separator!r}, expected '.' or '/'")
    return str(separator).join([*prefix, *["%d"] * axes])


def parse_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the value of chunks that are not stored; null leaves it open, and is 0.

    Raises
    ------
    ValueError
        If the data type cannot hold it.

    Examples
    --------
    >>> float(parse_fill("NaN", np.dtype("f4"))), int(parse_fill(None, np.dtype("u1")))
    (nan, 0)
    >>> parse_fill(300, np.dtype("u1"))
    Traceback (most recent call last):
        ...
    ValueError: the fill value 300, which uint8 cannot hold
    """
    kind = dtype.newbyteorder("=").type
    if value is None:
        return kind(0)
    if dtype.kind == "f":
        if isinstance(value, str) and value.startswith("0x"):  # format 3 may give the bits
            return np.array(int(value, 16), f"u{dtype.itemsize}").view(kind)[()]
        number = _WORDS.get(value) if isinstance(value, str) else value
        if isinstance(number, int | float) and not isinstance(number, bool):
            size = abs(number)
            if size <= float(np.finfo(kind).max) or size == math.inf or size != size:
                return kind(number)
    elif isinstance(value, int | float) and math.isfinite(value) and value == int(value):
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        if low <= value <= high:
            return kind(value)
    words = f"the fill value {value!r}, which {dtype.newbyteorder('=')} cannot hold"
    if isinstance(value, int) and dtype.kind in "iu":  # an error of NumPy's since 2.0
        raise ValueError(words)
    try:
        with np.errstate(over="ignore"):
            np.array(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(words) from None
    raise OddValueError(words)  # zarr makes something of it
