"""Arrays whose chunks are files of their own: zarr format 2 and N5, decoded here, read from disk or over a network.

zarr 2.18 takes a chunk that its server refuses or fails to send for one that is not stored, and gives fill values; zarr
3 reads N5 no more. So the files are read by this module, and decoded with numcodecs, which both use.
"""

from __future__ import annotations

import functools
import json
import lzma
import os
import struct
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_data.formats.cache import Chunk
from csc_data.formats.chunked_array import Index
from csc_data.storage.nodes import read_local
from csc_data.storage.paths import is_remote
from csc_data.storage.remote import stream_files

KNOWN_CODECS = frozenset(
    {
        *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"),
        *("adler32", "astype", "bitround", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32"),
        *("packbits", "quantize", "shuffle"),
    }
)
"""Codecs and filters of numcodecs that turn bytes or numbers into the like."""

# numcodecs checks little by itself: what it raises depends on where decoding a damaged chunk goes wrong.
_DECODING_ERRORS = (RuntimeError, ValueError, OSError, EOFError, TypeError, struct.error, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFiles:
    """The chunks of one array.

    Attributes
    ----------
    path : str
        Folder or URL of the array.
    shape, chunks : tuple of int
    dtype : dtype
        As it is in memory.
    fill : scalar
        Value of chunks that are not stored.
    separator : str
        Between the numbers in the name of a chunk.
    reverse : bool
        Whether the names count the axes from the last to the first, as N5 does.
    decoder : ChunkDecoder
        Makes an array of the bytes of a file.
    endpoint : str or None
        Of the S3 service, where it is not that of the configuration.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    separator: str
    reverse: bool
    decoder: ChunkDecoder
    endpoint: str | None = None

    @property
    def key(self) -> Hashable:
        """What tells this array from every other one."""
        place = self.path if is_remote(self.path) else os.path.abspath(self.path)  # noqa: PTH100 - no Path in between
        return place, self.endpoint, self.shape, self.chunks, self.dtype.str

    def file_of(self, index: Index) -> str:
        """Return the path or URL of a chunk's file."""
        return self._file_names([index])[0]

    def _file_names(self, indices: Sequence[Index]) -> list[str]:
        numbers = [index[::-1] for index in indices] if self.reverse else indices
        inner, chained, outer = self.path.partition("::") if is_remote(self.path) else (self.path, "", "")
        # A format string for all of them: this runs for each chunk of each read, also those that are in memory.
        pattern = self.separator.join(["%d"] * len(self.shape))
        return [f"{inner.rstrip('/')}/{pattern % number}{chained}{outer}" for number in numbers]

    def stamps(self, wanted: Sequence[Index]) -> list[Any]:
        """Return the state of each local file; what is remote is taken not to change while a process runs."""
        if is_remote(self.path):
            return [None] * len(wanted)
        return file_states(self._file_names(wanted))

    def load(self, wanted: Sequence[Index]) -> Iterator[tuple[int, Chunk]]:
        """Give decoded chunks as they arrive.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged, or its file is there but cannot be read; with its path.
        """
        files = self._file_names(wanted)
        if is_remote(self.path):
            contents: Iterator[tuple[int, bytes | None]] = stream_files(files, endpoint=self.endpoint)
        else:
            contents = ((number, read_local(file)) for number, file in enumerate(files))
        for number, content in contents:
            if content is None:
                yield number, None
                continue
            try:
                chunk = self.decoder.decode(content, self.chunks, self.dtype)
            except _DECODING_ERRORS as error:
                raise UnreadableDataError(f"the chunk {files[number]} is damaged: {error}") from error
            yield number, chunk


def file_states(files: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """Return what changes when a local file does: time, size and inode; None where there is none.

    It is asked for each chunk of each read, also those that are in memory, and so spends as little as it can.
    """
    found: list[tuple[int, int, int] | None] = []
    stat = os.stat
    for file in files:
        try:
            state = stat(file)
        except (FileNotFoundError, NotADirectoryError):
            found.append(None)
        except OSError:
            found.append((0, 0, 0))  # reading it will say what is wrong
        else:
            found.append((state.st_mtime_ns, state.st_size, state.st_ino))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDecoder:
    """How the bytes of a chunk become an array.

    Attributes
    ----------
    codecs : tuple of str
        Configurations for numcodecs, as JSON, in the order in which they were applied to the data.
    stored : str
        Data type in the file, with its byte order, in numpy's words.
    order : {"C", "F"}
        Order of the elements in the file.
    header : bool
        Whether a header of N5 comes first.
    """

    codecs: tuple[str, ...]
    stored: str
    order: Literal["C", "F"] = "C"
    header: bool = False

    def decode(self, content: bytes, chunks: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return the array of the full chunk shape, C-contiguous."""
        held = chunks
        if self.header:
            start, held = _read_n5_header(content, len(chunks))
            content = content[start:]
        data: Any = content
        for config in reversed(self.codecs):
            data = _open_codec(config).decode(data)
        values = data if isinstance(data, np.ndarray) else np.frombuffer(data, dtype=np.uint8)
        values = values.reshape(-1, order="A").view(self.stored).reshape(held, order=self.order)
        values = np.ascontiguousarray(values, dtype=dtype)
        if held == chunks:
            return values
        whole = np.zeros(chunks, dtype=dtype)
        whole[tuple(slice(0, n) for n in held)] = values
        return whole


@functools.lru_cache(maxsize=64)
def _open_codec(config: str) -> Any:
    import numcodecs

    return numcodecs.get_codec(json.loads(config))


def check_codec(config: object) -> str:
    """Return the configuration of a codec as JSON, once it is known that its data can be decoded.

    Raises
    ------
    ValueError
        If it is no configuration, or of a codec that is not for numbers: some run what the file says.
    """
    if not isinstance(config, Mapping) or config.get("id") not in KNOWN_CODECS:
        known = ", ".join(sorted(KNOWN_CODECS))
        raise ValueError(f"a codec {config!r} that is not known here, expected one of {known}")
    text = json.dumps(config, sort_keys=True)
    _open_codec(text)
    return text


def _read_n5_header(content: bytes, axes: int) -> tuple[int, tuple[int, ...]]:
    """Return where the data begin, and the shape of a chunk, in our order of axes; at the end they may be cut short."""
    mode, found = struct.unpack_from(">HH", content)
    if mode != 0 or found != axes:
        raise ValueError(f"its header names mode {mode} and {found} axes, expected mode 0 and {axes} axes")
    sizes = struct.unpack_from(f">{axes}I", content, 4)
    return 4 + 4 * axes, tuple(sizes[::-1])
