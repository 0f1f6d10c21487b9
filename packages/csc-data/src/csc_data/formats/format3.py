"""Arrays of zarr format 3 (https://zarr-specs.readthedocs.io/en/latest/v3/core/), read with zarr 3 where it is there.

zarr 3 knows their codecs and shards, so it reads and decodes; the cache above it holds what it gives.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_data.errors import UnreadableDataError
from csc_data.formats.cache import Chunk
from csc_data.formats.chunk_files import file_states
from csc_data.formats.chunked_array import Index
from csc_data.formats.format2 import sizes
from csc_data.storage.nodes import Node
from csc_data.storage.paths import is_remote, join
from csc_data.storage.remote import CONNECTIONS, attempt

_MOST_AT_ONCE = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Format3Chunks:
    """The chunks of one array; of a sharded one its inner chunks.

    Attributes
    ----------
    path : str
        Folder or URL of the array.
    shape, chunks : tuple of int
    dtype : dtype
    files : tuple of int
        Shape of what is one file: a chunk or a shard.
    fill : scalar
        Never needed: zarr fills in what is not stored.
    prefix, separator : str
        How files are named.
    endpoint : str or None
        Of the S3 service, where it is not that of the configuration.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    files: tuple[int, ...]
    prefix: tuple[str, ...] = ("c",)
    separator: str = "/"
    fill: Any = 0
    endpoint: str | None = None

    @property
    def key(self) -> Hashable:
        """What tells this array from every other one."""
        place = self.path if is_remote(self.path) else os.path.abspath(self.path)  # noqa: PTH100
        return place, self.endpoint, self.shape, self.chunks, self.dtype.str

    def stamps(self, wanted: Sequence[Index]) -> list[Any]:
        """Return the state of each local file; what is remote is taken not to change while a process runs."""
        if is_remote(self.path):
            return [None] * len(wanted)
        step = [f // c for f, c in zip(self.files, self.chunks, strict=True)]
        places = [[i // s for i, s in zip(index, step, strict=True)] for index in wanted]
        return file_states([join(self.path, self.separator.join([*self.prefix, *map(str, p)])) for p in places])

    def load(self, wanted: Sequence[Index]) -> Iterator[tuple[int, Chunk]]:
        """Give decoded chunks, some layers of chunks at a time; zarr reads each of those side by side.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged or cannot be read.
        """
        numbers = {index: number for number, index in enumerate(wanted)}
        for layers in self._batches(sorted({index[0] for index in wanted}), wanted):
            some = [index for index in wanted if index[0] in layers]
            first = [min(column) * c for column, c in zip(zip(*some, strict=True), self.chunks, strict=True)]
            last = [
                min((max(column) + 1) * c, n)
                for column, c, n in zip(zip(*some, strict=True), self.chunks, self.shape, strict=True)
            ]
            values = self._read(tuple(slice(a, b) for a, b in zip(first, last, strict=True)))
            for index in some:
                yield numbers[index], self._cut(values, first, index)

    def _batches(self, layers: list[int], wanted: Sequence[Index]) -> Iterator[set[int]]:
        spans = [max(column) - min(column) + 1 for column in list(zip(*wanted, strict=True))[1:]]
        layer = math.prod(spans) * math.prod(self.chunks) * self.dtype.itemsize
        step = max(1, _MOST_AT_ONCE // max(1, layer))
        for begin in range(0, len(layers), step):
            yield set(layers[begin : begin + step])

    def _cut(self, values: Any, first: Sequence[int], index: Index) -> Chunk:
        """Copy one chunk, of the full shape also at the end of the array, out of a box."""
        begin = [i * c - b for i, c, b in zip(index, self.chunks, first, strict=True)]
        part = values[tuple(slice(b, b + c) for b, c in zip(begin, self.chunks, strict=True))]
        chunk = np.zeros(self.chunks, dtype=self.dtype)
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        return chunk

    def _read(self, box: tuple[slice, ...]) -> Any:
        import zarr

        array = _open(os.getpid(), self.path, self.endpoint)
        words = ", ".join(f"{s.start}:{s.stop}" for s in box)

        def read() -> Any:
            with zarr.config.set({"async.concurrency": CONNECTIONS}):
                return np.asarray(array[box])

        try:
            if is_remote(self.path):
                return attempt(f"{self.path} in [{words}]", read)
            return read()
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            if isinstance(error, UnreadableDataError):
                raise
            raise UnreadableDataError(f"{self.path}: a chunk in [{words}] is damaged: {error}") from error


@functools.lru_cache(maxsize=256)
def _open(process: int, path: str, endpoint: str | None) -> Any:
    """Open an array once in each process: what zarr 3 keeps of a connection is not for use after a fork."""
    from csc_data.formats.writing import open_array

    return open_array(path, endpoint=endpoint)


def format3_chunks(node: Node, endpoint: str | None = None) -> Format3Chunks:
    """Return the chunks of an array.

    Raises
    ------
    UnreadableDataError
        If zarr 3 is not installed, or the metadata is damaged.
    """
    from csc_data.formats.writing import ZARR_3

    if not ZARR_3:
        raise UnreadableDataError(f"{node.path} is in zarr format 3; installing zarr>=3 makes it readable")
    metadata = node.metadata or {}
    try:
        shape = sizes(metadata["shape"])
        files = sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"], least=1, axes=len(shape))
        dtype = np.dtype(metadata["data_type"])
        if dtype.kind not in "buif":
            raise ValueError(f"data_type {metadata['data_type']!r}, expected numbers")  # noqa: TRY301
        naming = metadata["chunk_key_encoding"]
        default = naming["name"] == "default"
        return Format3Chunks(
            path=node.path,
            shape=shape,
            chunks=_inner_chunks(metadata["codecs"], files),
            dtype=dtype,
            files=files,
            prefix=("c",) if default else (),
            separator=naming.get("configuration", {}).get("separator", "/" if default else "."),
            endpoint=endpoint,
        )
    except (KeyError, TypeError, ValueError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableDataError(f"{node.path}: its zarr.json is damaged or not supported: {words}") from error


def _inner_chunks(codecs: Sequence[Mapping[str, Any]], files: tuple[int, ...]) -> tuple[int, ...]:
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            inner = sizes(codec["configuration"]["chunk_shape"], least=1, axes=len(files))
            if all(outer % size == 0 for outer, size in zip(files, inner, strict=True)):
                return inner
    return files
