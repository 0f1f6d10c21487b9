"""Stored zarr arrays (formats 2 and 3), read box by box without trusting what they say about themselves."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_eval.voxels.codecs import decode, parse_compressor
from csc_eval.voxels.stores import Store, read_json

Shape = tuple[int, int, int]
Array = npt.NDArray[Any]

MAX_CHUNK_SIZE = 2 * 1024**3
"""Bytes of one decoded chunk; a 1000^3 crop that somebody stored as one chunk of uint8 or uint16 still passes."""


class VoxelSource(Protocol):
    """Something that voxels can be read from, box by box: a stored array, or a view of one."""

    shape: Shape
    dtype: np.dtype[Any]
    chunks: Shape
    order: Literal["C", "F"]

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box within the shape, C-contiguous and in native byte order."""


MAX_CHUNKS = 4_000_000
"""Chunks of one array: to look for each takes longer than to score them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayMetadata:
    """What a stored array says about itself, checked."""

    shape: Shape
    chunks: Shape
    stored_dtype: np.dtype[Any]
    order: Literal["C", "F"]
    compressor: str
    fill_value: Any
    key_prefix: str
    separator: str

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded chunk."""
        return math.prod(self.chunks) * self.stored_dtype.itemsize


class MemoryArray:
    """A source of voxels over an array in memory."""

    def __init__(self, values: Array) -> None:
        fortran = values.flags.f_contiguous and not values.flags.c_contiguous
        self.values = values
        self.order: Literal["C", "F"] = "F" if fortran else "C"
        self.shape: Shape = values.shape
        self.dtype = values.dtype
        self.chunks: Shape = values.shape

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        box = tuple(map(slice, begin, end))
        return np.ascontiguousarray(self.values[box].astype(self.dtype.newbyteorder("="), copy=False))


class StoredArray:
    """A zarr array of three axes in a store.

    Parameters
    ----------
    store : Store
        Where it lies.
    key : str
        Its folder in the store.
    cache_bytes : int
        How many bytes of decoded chunks to keep; one chunk is kept at least.
    max_chunk_size : int
        Bytes that one decoded chunk may have.

    Raises
    ------
    UnreadableDataError
        If its metadata is missing, damaged, or describes something that is no volume of numbers.
    """

    def __init__(self, store: Store, key: str, *, cache_bytes: int = 0, max_chunk_size: int = MAX_CHUNK_SIZE) -> None:
        self.store = store
        self.key = key
        self.metadata = read_metadata(store, key, max_chunk_size)
        self.shape = self.metadata.shape
        self.chunks = self.metadata.chunks
        self.order = self.metadata.order
        self.dtype = self.metadata.stored_dtype.newbyteorder("=")
        self.cache_bytes = cache_bytes
        self._cache: OrderedDict[Shape, Array | None] = OrderedDict()

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"{self.store.name}/{self.key}"

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box, not to be written to; chunks that are not there hold the fill value."""
        grid = [range(b // c, (e - 1) // c + 1) for b, e, c in zip(begin, end, self.chunks, strict=True)]
        shape = tuple(e - b for b, e in zip(begin, end, strict=True))
        if shape == self.chunks and all(len(indices) == 1 for indices in grid):
            # Whoever reads whole chunks does not come back for them: they are not kept.
            first = (grid[0][0], grid[1][0], grid[2][0])
            whole = self._cache[first] if first in self._cache else self._decode(first)
            if whole is not None:
                return np.ascontiguousarray(whole)
        fill = self.metadata.fill_value
        out = np.full(shape, fill, self.dtype) if fill else np.zeros(shape, self.dtype)
        for index in itertools.product(*grid):
            chunk = self._chunk((index[0], index[1], index[2]))
            if chunk is None:
                continue
            source, target = [], []
            for i, c, b, e in zip(index, self.chunks, begin, end, strict=True):
                low, high = max(i * c, b), min((i + 1) * c, e)
                source.append(slice(low - i * c, high - i * c))
                target.append(slice(low - b, high - b))
            out[tuple(target)] = chunk[tuple(source)]
        return out

    def _chunk(self, index: Shape) -> Array | None:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        capacity = max(1, self.cache_bytes // max(1, self.metadata.chunk_bytes))
        while len(self._cache) >= capacity:
            self._cache.popitem(last=False)
        chunk = self._decode(index)
        self._cache[index] = chunk
        return chunk

    def _decode(self, index: Shape) -> Array | None:
        meta = self.metadata
        name = meta.separator.join([*([meta.key_prefix] if meta.key_prefix else []), *map(str, index)])
        # An encoder may store what does not compress, with a header of a few bytes per block.
        data = self.store.read(f"{self.key}/{name}", meta.chunk_bytes + meta.chunk_bytes // 8 + 65536)
        if data is None:
            return None
        try:
            raw = decode(meta.compressor, data, meta.chunk_bytes) if meta.compressor else np.frombuffer(data, np.uint8)
        except UnreadableDataError as error:
            raise UnreadableDataError(f"{self.where}/{name}: {error}") from error
        if raw.size != meta.chunk_bytes:
            raise UnreadableDataError(f"{self.where}/{name} holds {raw.size} bytes; expected {meta.chunk_bytes}")
        chunk = raw.view(meta.stored_dtype).reshape(meta.chunks, order=meta.order)
        return chunk if meta.stored_dtype == self.dtype else chunk.astype(self.dtype)


def read_attributes(store: Store, key: str) -> Mapping[str, Any]:
    """Return the attributes of the array or group in a folder; empty if it has none."""
    document = read_json(store, f"{key}/zarr.json")
    if document is not None:
        attributes = document.get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}
    return read_json(store, f"{key}/.zattrs") or {}


def is_array(store: Store, key: str) -> bool:
    """Tell whether a folder holds an array."""
    if store.has(f"{key}/.zarray"):
        return True
    document = read_json(store, f"{key}/zarr.json")
    return document is not None and document.get("node_type") == "array"


def read_metadata(store: Store, key: str, max_chunk_size: int = MAX_CHUNK_SIZE) -> ArrayMetadata:
    """Read and check an array's metadata.

    Raises
    ------
    UnreadableDataError
        If it is missing, damaged, or describes something that is no volume of numbers.
    """
    where = f"{store.name}/{key}"
    document = read_json(store, f"{key}/.zarray")
    try:
        if document is not None:
            metadata = _parse_v2(document, where)
        else:
            document = read_json(store, f"{key}/zarr.json")
            if document is None or document.get("node_type") != "array":
                raise UnreadableDataError(f"{where} holds no zarr array")
            metadata = _parse_v3(document, where)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise UnreadableDataError(f"{where} has damaged metadata: {error!r}") from error
    _check(metadata, where, max_chunk_size)
    return metadata


def _parse_v2(document: Mapping[str, Any], where: str) -> ArrayMetadata:
    if document.get("filters"):
        raise UnreadableDataError(f"{where} is stored with filters ({document['filters']!r}); store it without")
    dtype = _parse_dtype(document["dtype"], where)
    order = document.get("order", "C")
    if order not in ("C", "F"):
        raise UnreadableDataError(f"{where} has the order {order!r}; expected C or F")
    return ArrayMetadata(
        shape=_parse_shape(document["shape"], where),
        chunks=_parse_shape(document["chunks"], where),
        stored_dtype=dtype,
        order=order,
        compressor=parse_compressor(document.get("compressor"), where),
        fill_value=_parse_fill_value(document.get("fill_value"), dtype, where),
        key_prefix="",
        separator=_parse_separator(document.get("dimension_separator", "."), where),
    )


def _parse_v3(document: Mapping[str, Any], where: str) -> ArrayMetadata:
    data_type = document["data_type"]
    dtype = _parse_dtype("bool" if data_type == "bool" else data_type, where)
    order: Literal["C", "F"] = "C"
    compressor = ""
    for codec in document["codecs"]:
        name, configuration = codec["name"], codec.get("configuration") or {}
        if name == "bytes":
            dtype = dtype.newbyteorder(">" if configuration.get("endian") == "big" else "<")
        elif name == "transpose" and list(configuration["order"]) == [2, 1, 0]:
            order = "F"
        else:
            compressor = parse_compressor(codec, where)
    encoding = document["chunk_key_encoding"]
    default = encoding["name"] == "default"
    separator = (encoding.get("configuration") or {}).get("separator", "/" if default else ".")
    return ArrayMetadata(
        shape=_parse_shape(document["shape"], where),
        chunks=_parse_shape(document["chunk_grid"]["configuration"]["chunk_shape"], where),
        stored_dtype=dtype,
        order=order,
        compressor=compressor,
        fill_value=_parse_fill_value(document.get("fill_value"), dtype, where),
        key_prefix="c" if default else "",
        separator=_parse_separator(separator, where),
    )


def _parse_separator(separator: object, where: str) -> str:
    if separator not in (".", "/"):
        raise UnreadableDataError(f"{where} separates chunk indices by {separator!r}; expected '.' or '/'")
    return str(separator)


def _parse_dtype(text: object, where: str) -> np.dtype[Any]:
    # Only plain names: np.dtype would also take lists, dicts and object types.
    dtype = np.dtype(text) if isinstance(text, str) and len(text) < 16 else None
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise UnreadableDataError(f"{where} holds values of type {text!r}; expected bool, integers or floats")
    return dtype


def _parse_shape(values: object, where: str) -> Shape:
    if not isinstance(values, list) or len(values) != 3:
        raise UnreadableDataError(f"{where} has the shape {values!r}; expected three axes (z, y, x)")
    if not all(isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 for value in values):
        raise UnreadableDataError(f"{where} has the shape {values!r}; expected positive whole numbers")
    return values[0], values[1], values[2]


def _parse_fill_value(value: object, dtype: np.dtype[Any], where: str) -> Any:
    if value is None:
        return dtype.type(0)
    if not isinstance(value, int | float | str) or (isinstance(value, str) and dtype.kind != "f"):
        raise UnreadableDataError(f"{where} has the fill value {value!r}; expected a number")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a float that does not fit
        try:
            return np.array(value).astype(dtype.newbyteorder("="))[()]
        except RuntimeWarning as warning:
            raise UnreadableDataError(f"{where} has the fill value {value!r}, which {dtype} cannot hold") from warning


def _check(metadata: ArrayMetadata, where: str, max_chunk_size: int) -> None:
    if metadata.chunk_bytes > max_chunk_size:
        raise UnreadableDataError(
            f"{where} has chunks of {metadata.chunks} voxels, {metadata.chunk_bytes} bytes each; "
            f"at most {max_chunk_size} are read at once: store it in smaller chunks (128, 128, 128)"
        )
    count = math.prod(-(-n // c) for n, c in zip(metadata.shape, metadata.chunks, strict=True))
    if count > MAX_CHUNKS:
        raise UnreadableDataError(
            f"{where} has {count} chunks of {metadata.chunks} voxels, at most {MAX_CHUNKS} are read: "
            "store it in larger chunks (128, 128, 128)"
        )
