"""Chunks, decoded into a buffer of known size and nothing else.

Only codecs that turn bytes into bytes are known here. Zarr would look a codec up by name and run it, and some names
(``pickle``, ``json2``) run what the file says.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError

Bytes = npt.NDArray[np.uint8]

NUMCODECS = ("blosc", "zstd", "lz4")
STREAMS = ("zlib", "gzip", "bz2", "lzma")
KNOWN = NUMCODECS + STREAMS


def decode(codec: str, data: bytes, n_bytes: int) -> Bytes:
    """Decode to exactly `n_bytes`.

    Parameters
    ----------
    codec : str
        One of `KNOWN`.
    data : bytes
        The encoded chunk.
    n_bytes : int
        What it must decode to; no more memory is ever taken.

    Raises
    ------
    UnreadableDataError
        If it is damaged or decodes to another size.
    """
    try:
        decoded = _stream(codec, data, n_bytes) if codec in STREAMS else _numcodecs(codec, data, n_bytes)
    except (ValueError, RuntimeError, zlib.error, EOFError, OSError) as error:
        raise UnreadableDataError(f"a chunk cannot be decoded ({codec}): {error}") from error
    if decoded.size != n_bytes:
        raise UnreadableDataError(f"a chunk decodes to {decoded.size} bytes; its array says {n_bytes}")
    return decoded


def _stream(codec: str, data: bytes, n_bytes: int) -> Bytes:
    decoder = _stream_decoder(codec)
    decoded = decoder.decompress(data, n_bytes + 1)
    if len(decoded) == n_bytes and not decoder.eof:
        raise ValueError("it is cut off")
    return np.frombuffer(decoded, np.uint8)


def _stream_decoder(codec: str) -> Any:
    if codec == "bz2":
        import bz2

        return bz2.BZ2Decompressor()
    if codec == "lzma":
        return _LzmaDecoder()
    return zlib.decompressobj(wbits=47)  # 32 + 15: zlib and gzip headers alike


class _LzmaDecoder:
    """LZMA, its error being one of those that the others raise."""

    def __init__(self) -> None:
        import lzma

        self._error = lzma.LZMAError
        self._decoder = lzma.LZMADecompressor()

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    def decompress(self, data: bytes, limit: int) -> bytes:
        try:
            return self._decoder.decompress(data, limit)
        except self._error as error:
            raise ValueError(str(error)) from error


def _numcodecs(codec: str, data: bytes, n_bytes: int) -> Bytes:
    import numcodecs

    declared = declared_size(codec, data)
    if declared is not None and declared != n_bytes:
        raise ValueError(f"it declares {declared} bytes where the array says {n_bytes}")
    # The buffer holds a word more, as a decoder that trusts a false header must not get past our end unnoticed.
    out = np.zeros(n_bytes, np.uint8)
    numcodecs.get_codec({"id": codec}).decode(data, out=out)
    return out


def declared_size(codec: str, data: bytes) -> int | None:
    """Return the decoded size that a chunk's header declares; None where the format leaves it open.

    Sources: Blosc chunk format 1 (bytes 4 to 8), numcodecs LZ4 (bytes 0 to 4), RFC 8878 (Zstandard frames).
    """
    if codec == "blosc":
        if len(data) < 16 or int.from_bytes(data[12:16], "little") != len(data):
            raise ValueError("its Blosc header does not fit its length")
        return int.from_bytes(data[4:8], "little")
    if codec == "lz4":
        return int.from_bytes(data[:4], "little") if len(data) >= 4 else 0
    return _zstd_content_size(data)


def _zstd_content_size(data: bytes) -> int | None:
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 6:
        raise ValueError("it is no Zstandard frame")
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        return None
    begin = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(data[begin : begin + width], "little")
    return size + 256 if width == 2 else size


def parse_compressor(document: Mapping[str, Any] | None, where: str) -> str:
    """Return the name of a chunk's codec, "" for none.

    Raises
    ------
    UnreadableDataError
        If it is none of `KNOWN`.
    """
    if document is None:
        return ""
    name = document.get("id", document.get("name")) if isinstance(document, Mapping) else document
    if name not in KNOWN:
        raise UnreadableDataError(f"{where}: chunks are coded with {name!r}; known are {', '.join(KNOWN)}")
    return str(name)
