"""The chunks of a stored array, of any format: which files they are, and their decoded values.

zarr 2.18 takes a chunk that its server refuses or fails to send for one that is not stored, and gives fill values; zarr
3 reads N5 no more; neither compares what a chunk says of its size with its file. So the files are read by this module.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import OddValueError, QuestionableDataError, UnreadableDataError
from csc_data.formats.array_metadata import ArrayMetadata, ShardIndex
from csc_data.formats.cache import Chunk
from csc_data.formats.chunked_array import Index
from csc_data.formats.codecs import DECODING_ERRORS, decode
from csc_data.formats.decoders.libraries import Bytes
from csc_data.storage.limits import most_encoded_bytes
from csc_data.storage.stores.places import Store, join_key

_ABSENT = 2**64 - 1
_GAP, _LARGEST_READ = 2**16, 2**24
"""Parts of a shard that lie so near to each other are read at once, up to so many bytes."""


def decode_chunk(metadata: ArrayMetadata, content: bytes, out: Bytes | None = None) -> npt.NDArray[Any]:
    """Return the array of the full chunk shape, C-contiguous, in the byte order of this machine.

    Parameters
    ----------
    metadata : ArrayMetadata
    content : bytes
        The chunk as it is stored.
    out : uint8 array, optional
        Memory of the size of a chunk that the values may lie in.

    Raises
    ------
    ValueError and others of `csc_data.formats.codecs.DECODING_ERRORS`
        If it is damaged.

    Examples
    --------
    >>> from csc_data.formats.format2 import parse_format2
    >>> metadata = parse_format2({
    ...     "zarr_format": 2, "shape": [4, 4, 4], "chunks": [2, 2, 2], "dtype": "<u2", "order": "C",
    ...     "compressor": {"id": "zlib", "level": 1}, "fill_value": 0,
    ... })
    >>> import zlib
    >>> decode_chunk(metadata, zlib.compress(np.arange(8, dtype="<u2").tobytes())).tolist()
    [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    """
    chunks, held = metadata.chunks, metadata.chunks
    if metadata.header:
        start, held = read_n5_header(content, chunks)
        content = content[start:]
    data = decode(metadata.codecs, content, math.prod(held) * metadata.stored.itemsize, out)
    values = data if isinstance(data, np.ndarray) else np.frombuffer(data, dtype=np.uint8)
    values = values.reshape(-1, order="A").view(metadata.stored)
    if metadata.stored.kind == "b":  # any byte may stand for true, and NumPy would tell them apart
        values = values.view(np.uint8) != 0
    values = values.reshape([held[axis] for axis in metadata.axes])
    if metadata.axes != tuple(range(len(held))):
        values = values.transpose(np.argsort(metadata.axes))
    values = np.ascontiguousarray(values, dtype=metadata.dtype)
    if held == chunks:
        return values
    whole = np.zeros(chunks, dtype=metadata.dtype)
    whole[tuple(slice(0, n) for n in held)] = values
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunks:
    """The chunks of one array; of a sharded one its inner chunks.

    Attributes
    ----------
    store : Store
        Where the array lies.
    folder : str
        Its key there.
    metadata : ArrayMetadata
    shape, chunks : tuple of int
        Without the axes that are left out.
    left_out : tuple of int
        Axes of length 1 that the array has and its reader does not want.
    """

    store: Store
    folder: str
    metadata: ArrayMetadata
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    left_out: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """Folder or URL of the array."""
        return self.store.place(self.folder)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in memory."""
        return self.metadata.dtype

    @property
    def fill(self) -> Any:
        """Value of chunks that are not stored."""
        return self.metadata.fill

    @property
    def key(self) -> Hashable:
        """What tells this array from every other one."""
        return self.store.identity, self.folder, self.shape, self.chunks, self.dtype.str

    def file_keys(self, indices: Sequence[Index]) -> list[str]:
        """Return the keys of the files that hold some chunks; chunks of one shard have the same."""
        meta, numbers = self.metadata, indices
        if self.left_out:
            numbers = [self._complete(index) for index in numbers]
        if meta.shard is not None:
            numbers = [tuple(i // s for i, s in zip(n, meta.shard.shape, strict=True)) for n in numbers]
        if meta.reverse:
            numbers = [index[::-1] for index in numbers]
        # A format string for all of them: this runs for each chunk of each read, also those that are in memory.
        pattern = join_key(self.folder.replace("%", "%%"), meta.pattern)
        return [pattern % number for number in numbers]

    def _complete(self, index: Index) -> Index:
        numbers = iter(index)
        return tuple(0 if axis in self.left_out else next(numbers) for axis in range(len(self.metadata.shape)))

    def stamps(self, wanted: Sequence[Index]) -> list[Hashable]:
        """Return the state of the file of each chunk, as far as it is known cheaply."""
        return self.store.stamps(self.file_keys(wanted))

    def load(
        self, wanted: Sequence[Index], decode: Callable[[ArrayMetadata, bytes], Chunk] = decode_chunk
    ) -> Iterator[tuple[int, Chunk]]:
        """Give decoded chunks as they arrive.

        Parameters
        ----------
        wanted : sequence of Index
        decode : callable
            What makes an array of a chunk as it is stored.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged, or its file is there but cannot be read; with its path.
        """
        files = self.file_keys(wanted)
        limit = most_encoded_bytes(self.metadata.chunk_bytes)
        contents = (
            self.store.read_many(files, limit)
            if self.metadata.shard is None
            else self._read_from_shards(self.metadata.shard, files, wanted)
        )
        for number, content in contents:
            if content is None:
                yield number, None
                continue
            try:
                chunk = decode(self.metadata, content)
            except (*DECODING_ERRORS, MemoryError) as error:
                raise self._damaged(files[number], error) from error
            if self.left_out and chunk is not None:
                keep = tuple(0 if axis in self.left_out else slice(None) for axis in range(chunk.ndim))
                chunk = np.ascontiguousarray(chunk[keep])
            yield number, chunk

    def _damaged(self, file: str, error: Exception) -> UnreadableDataError:
        kind = QuestionableDataError if isinstance(error, OddValueError) else UnreadableDataError
        return kind(f"the chunk {self.store.place(file)} is damaged: {error}")

    def _read_from_shards(
        self, shard: ShardIndex, files: Sequence[str], wanted: Sequence[Index]
    ) -> Iterator[tuple[int, bytes | None]]:
        """Read the indices of the shards, then the parts that hold the chunks; near ones at once."""
        from csc_data.formats.format3 import read_shard_index

        limit = most_encoded_bytes(self.metadata.chunk_bytes)
        names = list(dict.fromkeys(files))
        part = (-shard.size, None) if shard.at_end else (0, shard.size)
        indices: dict[str, npt.NDArray[np.uint64] | None] = {}
        for number, content in self.store.read_many(names, shard.size, [part] * len(names)):
            try:
                indices[names[number]] = None if content is None else read_shard_index(shard, content)
            except ValueError as error:
                raise self._damaged(names[number], error) from error
        found: list[tuple[str, int, int, int]] = []
        for number, (file, index) in enumerate(zip(files, wanted, strict=True)):
            table = indices[file]
            inner = tuple(i % s for i, s in zip(self._complete(index), shard.shape, strict=True))
            begin, size = (_ABSENT, _ABSENT) if table is None else map(int, table[inner])
            if begin == size == _ABSENT:
                yield number, None
            elif size > limit or begin + size >= 2**63:
                raise self._damaged(file, ValueError(f"a chunk of {size} bytes at byte {begin}, expected {limit}"))
            else:
                found.append((file, begin, begin + size, number))
        reads = _join_near(sorted(found))
        parts = [(group[0][1], max(entry[2] for entry in group)) for group in reads]
        most = max(limit, _LARGEST_READ)
        for at, content in self.store.read_many([group[0][0] for group in reads], most, parts):
            for file, begin, end, number in reads[at]:
                piece = (content or b"")[begin - parts[at][0] : end - parts[at][0]]
                if len(piece) != end - begin:
                    raise self._damaged(file, ValueError(f"it ends before the chunk at bytes {begin} to {end}"))
                yield number, piece


def _join_near(parts: Iterable[tuple[str, int, int, int]]) -> list[list[tuple[str, int, int, int]]]:
    """Group parts of files, sorted by file and place, that are read at once."""
    groups: list[list[tuple[str, int, int, int]]] = []
    for entry in parts:
        file, begin, end, _ = entry
        last = groups[-1] if groups else None
        if last and last[0][0] == file and begin - last[-1][2] <= _GAP and end - last[0][1] <= _LARGEST_READ:
            last.append(entry)
        else:
            groups.append([entry])
    return groups


def read_n5_header(content: bytes, chunks: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return where the data begin, and the shape of a chunk, in our order of axes; at the end they may be cut short.

    Examples
    --------
    >>> import struct
    >>> header = struct.pack(">HHIII", 0, 3, 10, 64, 64)  # x, y, z
    >>> read_n5_header(header, (64, 64, 64))
    (16, (64, 64, 10))
    """
    mode, found = struct.unpack_from(">HH", content)
    if mode != 0 or found != len(chunks):
        raise ValueError(f"its header names mode {mode} and {found} axes, expected mode 0 and {len(chunks)} axes")
    sizes = struct.unpack_from(f">{found}I", content, 4)[::-1]
    if not all(0 < n <= c for n, c in zip(sizes, chunks, strict=True)):
        raise ValueError(f"its header names {sizes} voxels, expected at most {chunks}")
    return 4 + 4 * found, tuple(sizes)
