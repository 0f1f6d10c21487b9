"""Arrays as a browser gets them: chunks as they are stored where Neuroglancer can read them, else encoded anew.

A chunk is asked for by its numbers, which are looked up here; no name that a browser sends ever becomes part of a path.
What Neuroglancer reads: https://github.com/google/neuroglancer/tree/master/src/datasource/zarr
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal

import numcodecs
import numpy as np
import numpy.typing as npt

from csc_data.formats.array_metadata import ArrayMetadata
from csc_data.formats.cache import passing_through
from csc_data.formats.chunk_files import StoredChunks, decode_chunk, read_n5_header
from csc_data.formats.chunked_array import Index
from csc_data.formats.codecs import Codec
from csc_data.storage.limits import DEFAULT_LIMITS, most_encoded_bytes
from csc_data.storage.nodes import parse_document
from csc_data.storage.stores.places import Part, join_key
from csc_data.view.live import BlockFuture, LiveArray

_COMPRESSORS = frozenset({"blosc", "gzip", "zlib", "zstd"})
_SHARD_CODECS = frozenset({"bytes", "blosc", "gzip", "zstd", "transpose", "crc32c", "sharding_indexed"})
_BLOSC = frozenset({"blosclz", "lz4", "lz4hc", "zlib", "zstd"})
_DTYPES = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "f4"})
_LARGEST_CHUNK = 128  # voxels along an axis of what is encoded anew: a chunk of a gigabyte would never be drawn
_ENCODER = numcodecs.Blosc(cname="lz4", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)


class ServedLevel(ABC):
    """An array that a browser can read.

    Attributes
    ----------
    zarr_format : {2, 3}
    document : bytes
        What ``.zarray`` or ``zarr.json`` says to the browser.
    counts : tuple of int
        Chunks per axis.
    """

    zarr_format: Literal[2, 3] = 2
    document: bytes
    counts: tuple[int, ...]

    @abstractmethod
    def chunk(self, index: Index, part: Part | None = None) -> bytes | None:
        """Return a chunk's bytes, or a part of them; None where it is not stored.

        Raises
        ------
        UnreadableDataError
            If it cannot be read.
        """

    def size(self, index: Index) -> int | None:
        """Return how many bytes a chunk has; None where it is not stored."""
        content = self.chunk(index)
        return None if content is None else len(content)


def serve_array(array: Any) -> ServedLevel:
    """Return an array as a browser gets it.

    Parameters
    ----------
    array : array-like
        A `ChunkedArray`, or anything that has shape and dtype and is read by slices: (z, y, x).

    Examples
    --------
    >>> level = serve_array(np.zeros((4, 4, 4), np.uint8))
    >>> level.zarr_format, level.counts
    (2, (1, 1, 1))
    """
    if isinstance(array, LiveArray):
        return ComputedLevel(array)
    source = getattr(array, "source", None)
    if isinstance(source, StoredChunks) and not source.left_out:
        document = _document2(source.metadata)
        if document is not None:
            return StoredLevel(source, document)
        if source.metadata.shard is not None:
            shards = _document3(source)
            if shards is not None:
                return ShardedLevel(source, *shards)
    return EncodedLevel(array)


class StoredLevel(ServedLevel):
    """Chunks as they are stored, one in a file, in any of the formats: they only differ in names and in N5's header.

    Parameters
    ----------
    source : StoredChunks
    document : mapping
        Its ``.zarray``.
    """

    def __init__(self, source: StoredChunks, document: Mapping[str, Any]) -> None:
        self._source = source
        self._files = source.store
        self._codecs = source.metadata.codecs
        self.document = json.dumps(document).encode()
        self.counts = _counts(source.shape, source.chunks)

    def chunk(self, index: Index, part: Part | None = None) -> bytes | None:
        """Return the file of a chunk."""
        metadata = self._source.metadata
        (key,) = self._source.file_keys([index])
        if not metadata.header:
            return self._files.read(key, most_encoded_bytes(metadata.chunk_bytes), part)
        content = self._files.read(key, most_encoded_bytes(metadata.chunk_bytes))
        if content is None:
            return None
        start, held = read_n5_header(content, metadata.chunks)
        if held == metadata.chunks:
            return content[start:]
        whole = np.ascontiguousarray(decode_chunk(metadata, content), dtype=metadata.stored)  # cut short at the end
        return _encode(whole, self._codecs)


class ShardedLevel(ServedLevel):
    """Shards of zarr 3 as they are; the browser reads their index and parts of them itself.

    Parameters
    ----------
    source : StoredChunks
    document : mapping
        Its ``zarr.json``.
    counts : tuple of int
        Shards per axis.
    """

    zarr_format = 3

    def __init__(self, source: StoredChunks, document: Mapping[str, Any], counts: tuple[int, ...]) -> None:
        self._source = source
        self._files = source.store
        shard = source.metadata.shard
        assert shard is not None
        self._inner = shard.shape
        self.document = json.dumps(document).encode()
        self.counts = counts

    def chunk(self, index: Index, part: Part | None = None) -> bytes | None:
        """Return a shard, or the part of it that is asked for."""
        return self._files.read(self._key(index), DEFAULT_LIMITS.chunk_bytes, part)

    def size(self, index: Index) -> int | None:
        """Return how many bytes a shard has, without reading it."""
        return self._files.size(self._key(index))

    def _key(self, index: Index) -> str:
        (key,) = self._source.file_keys([tuple(i * n for i, n in zip(index, self._inner, strict=True))])
        return key


class EncodedLevel(ServedLevel):
    """Chunks read, converted to what Neuroglancer knows, and encoded as they are asked for.

    Parameters
    ----------
    array : array-like
        Anything that has shape and dtype and is read by slices: (z, y, x).
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        # The browser holds what it was sent; what is computed is held for the next browser, too.
        self._reading = passing_through if isinstance(getattr(array, "source", None), StoredChunks) else nullcontext
        self._dtype = viewer_dtype(array.dtype)
        shape = tuple(int(n) for n in array.shape)
        chunks = getattr(array, "chunks", None) or (64,) * len(shape)
        self._chunks = tuple(max(1, min(int(c), _LARGEST_CHUNK)) for c in chunks)
        self.counts = _counts(shape, self._chunks)
        document = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": self._chunks,
            "dtype": self._dtype.str,
            "order": "C",
            "compressor": _ENCODER.get_config(),
            "filters": None,
            "fill_value": 0,
        }
        self.document = json.dumps(document).encode()

    def chunk(self, index: Index, part: Part | None = None) -> bytes | None:
        """Read, convert and encode a chunk."""
        box = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, self._chunks, strict=True))
        with self._reading():
            return self.encode(np.asarray(self._array[box]))

    def encode(self, values: npt.NDArray[Any]) -> bytes:
        """Convert and encode the values of a chunk; those at the end are padded by 0."""
        whole = np.zeros(self._chunks, dtype=self._dtype)
        whole[tuple(slice(0, n) for n in values.shape)] = values
        encoded: bytes = bytes(_ENCODER.encode(whole))
        return encoded


class ComputedLevel(EncodedLevel):
    """Blocks that are computed as they are asked for: who asks waits without a thread, see `ask`.

    Parameters
    ----------
    array : LiveArray
    """

    def __init__(self, array: LiveArray) -> None:
        super().__init__(array)
        self._live = array

    def ask(self, index: Index) -> BlockFuture:
        """Ask for a block; `encode` makes a chunk of what is computed."""
        return self._live.ask(index)

    def encode(self, values: npt.NDArray[Any]) -> bytes:
        """Encode what is its array's of a block, or a chunk."""
        return super().encode(self._live.take(values) if values.ndim > len(self.counts) else values)

    def size(self, index: Index) -> int | None:
        """Return None: nothing is computed to tell how large it would be."""
        return None


def viewer_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the type in which values of another one are sent: Neuroglancer knows no bool, float16, float64 or int64.

    >>> [str(viewer_dtype(dtype)) for dtype in ("f8", bool, "i8", ">u2")]
    ['float32', 'uint8', 'uint64', 'uint16']
    """
    given = np.dtype(dtype)
    if given.kind == "f":
        return np.dtype("<f4")
    if given.kind == "b":
        return np.dtype("u1")
    if given.kind == "i" and given.itemsize == 8:
        return np.dtype("<u8")
    return given.newbyteorder("<")


def _counts(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(shape, chunks, strict=True))


def _document2(metadata: ArrayMetadata) -> dict[str, Any] | None:
    """Return a ``.zarray`` under which the browser reads the chunks of an array of any format, or None."""
    natural = tuple(range(len(metadata.shape)))
    if (
        metadata.shard is not None
        or len(metadata.codecs) > 1
        or metadata.axes not in (natural, natural[::-1])
        or metadata.stored.str[1:] not in _DTYPES
        or not _finite(metadata.fill)
    ):
        return None
    compressor = None
    if metadata.codecs:
        (codec,) = metadata.codecs
        compressor = json.loads(codec.config)
        if codec.kind not in _COMPRESSORS or compressor.get("cname", "lz4") not in _BLOSC:
            return None
        # It wants them to be there; what they are decides nothing when chunks are read.
        defaults = {"cname": "lz4", "clevel": 5, "shuffle": 1} if codec.kind == "blosc" else {"level": 1}
        compressor = {"id": codec.kind} | {name: compressor.get(name, value) for name, value in defaults.items()}
    return {
        "zarr_format": 2,
        "shape": metadata.shape,
        "chunks": metadata.chunks,
        "dtype": metadata.stored.str,
        "order": metadata.order,
        "compressor": compressor,
        "filters": None,
        "fill_value": metadata.fill.item() if hasattr(metadata.fill, "item") else metadata.fill,
    }


def _finite(value: Any) -> bool:
    return math.isfinite(float(value))


def _document3(source: StoredChunks) -> tuple[dict[str, Any], tuple[int, ...]] | None:
    """Return a ``zarr.json`` under which the browser reads the shards of an array, and their number, or None."""
    metadata, shard = source.metadata, source.metadata.shard
    path = join_key(source.folder, "zarr.json")
    content = source.store.read(path, DEFAULT_LIMITS.metadata_bytes)
    if content is None or shard is None or metadata.stored.str[1:] not in _DTYPES or not _finite(metadata.fill):
        return None
    document = parse_document(source.store.place(path), content)
    if not set(_codec_names(document["codecs"])) <= _SHARD_CODECS:
        return None
    shape = tuple(c * n for c, n in zip(metadata.chunks, shard.shape, strict=True))
    document["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "."}}
    document["attributes"] = {}
    document["dimension_names"] = ["z", "y", "x"]
    return document, _counts(metadata.shape, shape)


def _codec_names(codecs: Any) -> list[str]:
    """Return the names of codecs, of those in shards too."""
    found = []
    for codec in codecs:
        found.append(str(codec["name"]))
        settings = codec.get("configuration") or {}
        for inner in ("codecs", "index_codecs"):
            found += _codec_names(settings.get(inner) or ())
    return found


def _encode(values: npt.NDArray[Any], codecs: tuple[Codec, ...]) -> bytes:
    """Encode a chunk again by the codec that its array has."""
    if not codecs:
        return values.tobytes()
    encoded: bytes = bytes(numcodecs.get_codec(json.loads(codecs[0].config)).encode(values))
    return encoded
