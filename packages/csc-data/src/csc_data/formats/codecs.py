"""Chunks, decoded to exactly the bytes that they must have, and nothing else.

A chunk may lie about its size, be cut off, or unpack to gigabytes. So what it must decode to is known before, from the
array's metadata; sizes in headers are compared with it and with the length of the file first; and what has no header
is unpacked into at most one byte more. Only codecs that turn bytes or numbers into the like are known: numcodecs would
look a codec up by name and run it, and some names (``pickle``, ``json2``) run what the file says.

What no reader can find: a flipped bit in data that no checksum covers (no codec, LZ4, most of Blosc and Zstandard).
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import OddValueError
from csc_data.formats.decoders.libraries import Bytes, decompress
from csc_data.storage.limits import most_encoded_bytes

STREAMS = frozenset({"bz2", "gzip", "lzma", "zlib"})
COMPRESSORS = STREAMS | {"blosc", "lz4", "zstd"}
_CHECKSUMS = frozenset({"adler32", "crc32", "crc32c", "fletcher32"})
FILTERS = _CHECKSUMS | {"astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle"}
KNOWN_CODECS = COMPRESSORS | FILTERS
"""Codecs and filters of numcodecs that turn bytes or numbers into the like."""

_OTHERS = frozenset({"base64", "jenkins_lookup3", "msgpack2", "pcodec", "pickle", "zfpy"})
"""Codecs that numcodecs knows, or a version of it, and that are not for us."""

_DTYPE_NAMES = ("dtype", "astype", "encode_dtype", "decode_dtype")
_LZMA_MEMORY = 2**28
"""More than the dictionary of any preset of LZMA takes; a header may ask for gigabytes."""
_LZMA_RAW = 3
_ZSTD_BLOCK = 2**17

# numcodecs checks little by itself: what it raises depends on where decoding a damaged chunk goes wrong.
DECODING_ERRORS = (RuntimeError, ValueError, OSError, EOFError, TypeError, OverflowError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A codec of a chunk.

    Attributes
    ----------
    name : str
        As the metadata write it.
    kind : str
        One of `KNOWN_CODECS`.
    config : str
        Configuration for numcodecs, as JSON.
    """

    name: str
    kind: str
    config: str


def parse_codec(config: Any, name: str | None = None) -> Codec:
    """Return a codec, once it is known that its data can be decoded.

    Parameters
    ----------
    config : mapping
        In the words of numcodecs.
    name : str, optional
        As the metadata write it; that of numcodecs by default.

    Raises
    ------
    ValueError
        If it is not a configuration, or of a codec that is not for numbers.

    Examples
    --------
    >>> parse_codec({"id": "zlib", "level": 1}).kind
    'zlib'
    """
    if not isinstance(config, Mapping) or config.get("id") not in KNOWN_CODECS:
        known = ", ".join(sorted(KNOWN_CODECS))
        fault = OddValueError if isinstance(config, Mapping) and config.get("id") in _OTHERS else ValueError
        raise fault(f"a codec {name or config!r} that is not known here, expected one of {known}")
    for key in _DTYPE_NAMES:
        if config.get(key) is not None and np.dtype(config[key]).kind not in "biuf":
            raise ValueError(f"a codec of {config[key]!r}, expected numbers")
    kind = str(config["id"])
    codec = Codec(name=name or kind, kind=kind, config=json.dumps(config, sort_keys=True))
    if kind in FILTERS and kind != "crc32c":
        _open_codec(codec.config)
    return codec


@functools.lru_cache(maxsize=64)
def _open_codec(config: str) -> Any:
    import numcodecs

    return numcodecs.get_codec(json.loads(config))


def decode(codecs: Sequence[Codec], data: Any, size: int, out: Bytes | None = None) -> Any:
    """Undo the codecs of a chunk.

    Parameters
    ----------
    codecs : sequence of Codec
        In the order in which they were applied to the data.
    data : bytes
        The chunk as it is stored.
    size : int
        Bytes that it must decode to; what is between codecs is bounded too.
    out : uint8 array, (size,), optional
        Memory that the result may lie in.

    Returns
    -------
    buffer
        Of exactly that size.

    Raises
    ------
    ValueError, RuntimeError, OSError, EOFError, TypeError, OverflowError, zlib.error, struct.error
        If it is damaged or of another size (`DECODING_ERRORS`).

    Examples
    --------
    >>> import zlib
    >>> codec = parse_codec({"id": "zlib", "level": 1})
    >>> bytes(decode([codec], zlib.compress(b"12345678"), 8))
    b'12345678'
    >>> decode([codec], zlib.compress(b"1234"), 8)
    Traceback (most recent call last):
        ...
    ValueError: it decodes to 4 bytes, expected 8
    """
    steps: list[tuple[Codec, int, bool]] = []
    exact = True
    for codec in codecs:
        steps.append((codec, size, exact))
        if codec.kind in COMPRESSORS:
            size, exact = most_encoded_bytes(size), False
        else:
            size = _filtered_size(codec, size)
    if exact and len(data) != size:
        raise ValueError(f"it holds {len(data)} bytes, expected {size}")
    for codec, size, exact in reversed(steps):
        if codec.kind in STREAMS:
            data = _decode_stream(codec, data, size)
        elif codec.kind in COMPRESSORS:
            data = _decode_block(codec.kind, data, size, out if len(codecs) == 1 else None, exact=exact)
        else:
            data = _decode_filter(codec, data)
        found = data.nbytes if isinstance(data, np.ndarray) else len(data)
        if found > size or (exact and found != size):
            raise ValueError(f"it decodes to {found} bytes, expected {size}")
    return data


def _decode_stream(codec: Codec, data: bytes, size: int) -> bytes:
    """Unpack to at most one byte more than expected; what follows the first stream may be further ones."""
    pieces: list[bytes] = []
    left = size + 1
    while True:
        decoder = _stream_decoder(codec)
        try:
            piece = decoder.decompress(data, left)
        except Exception as error:
            if isinstance(error, (*DECODING_ERRORS, MemoryError)) or type(error).__name__ == "LZMAError":
                # Behind a whole stream it is a rest, which some readers do not look at.
                raise (OddValueError if pieces else ValueError)(str(error)) from error
            raise
        pieces.append(piece)
        left -= len(piece)
        if left <= 0:
            raise ValueError(f"it unpacks to more than the {size} bytes expected")
        if not decoder.eof:
            raise ValueError("it is cut off")
        data = decoder.unused_data
        if not data:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _stream_decoder(codec: Codec) -> Any:
    if codec.kind == "bz2":
        import bz2

        return bz2.BZ2Decompressor()
    if codec.kind == "lzma":
        import lzma

        config = json.loads(codec.config)
        if config.get("format") != _LZMA_RAW:
            return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        if any(entry.get("dict_size", 0) > _LZMA_MEMORY for entry in config["filters"]):
            raise ValueError("its dictionary is too large")
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=config["filters"])
    return zlib.decompressobj(wbits=47)  # 32 + 15: zlib and gzip headers alike


def _decode_block(kind: str, data: Any, size: int, out: Bytes | None, *, exact: bool) -> Any:
    """Decode what says its size, after comparing what it says."""
    declared = _DECLARED_SIZES[kind](data)
    if declared is None:
        most = _most_in_zstd_frame(data)
        if most > 4 * size + 2**20:
            raise ValueError(f"its blocks may unpack to {most} bytes, expected {size}")
    elif declared > size or (exact and declared != size):
        raise ValueError(f"it declares {declared} bytes, expected {size}")
    if declared is None:
        # Not the codec's `decode`, which takes 10 microseconds longer to look at its arguments.
        return importlib.import_module(f"numcodecs.{kind}").decompress(data)
    return decompress(kind, data, declared, out)


def _declared_by_blosc(data: bytes) -> int:
    """Return the size in a header of Blosc 1 (README_CHUNK_FORMAT.rst of c-blosc), which must fit the file."""
    if len(data) < 16:
        raise ValueError(f"{len(data)} bytes are not a Blosc chunk")
    flags, item, size, block, stored = struct.unpack_from("<BBIII", data, 2)
    if stored != len(data):
        kind = OddValueError if stored < len(data) else ValueError
        raise kind(f"its header says {stored} bytes, the file has {len(data)}")
    if item == 0 or not 0 < block <= size or (flags & 2 and stored != size + 16):
        raise ValueError("its Blosc header contradicts itself")
    return int(size)


def _declared_by_lz4(data: bytes) -> int:
    if len(data) < 4:
        raise ValueError(f"{len(data)} bytes are not an LZ4 chunk")
    return int.from_bytes(data[:4], "little")  # put there by numcodecs; LZ4 itself has no header


def _zstd_header(data: bytes) -> tuple[int, int | None]:
    """Return where the blocks of a Zstandard frame begin, and its decoded size where it says it (RFC 8878, 3.1.1.1)."""
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 9:
        raise ValueError("it is not a Zstandard frame")
    descriptor = data[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    begin = 6 - single + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(data[begin : begin + width], "little") + (256 if width == 2 else 0)
    return begin + width, size if width else None


def _most_in_zstd_frame(data: bytes) -> int:
    """Return what the blocks of a frame can unpack to at most; a frame that was streamed does not say its size."""
    at, most, last = _zstd_header(data)[0], 0, 0
    while not last:
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if at + 3 > len(data) or kind == 3:
            raise ValueError("it is cut off, or its blocks are damaged")
        most += _ZSTD_BLOCK if kind == 2 else size
        at += 3 + (1 if kind == 1 else size)
    return most


_DECLARED_SIZES: dict[str, Callable[[bytes], int | None]] = {
    "blosc": _declared_by_blosc,
    "lz4": _declared_by_lz4,
    "zstd": lambda data: _zstd_header(data)[1],
}


@functools.lru_cache(maxsize=64)
def _filtered_size(codec: Codec, size: int) -> int:
    """Return what bytes become when a filter is applied."""
    if codec.kind in _CHECKSUMS:
        return size + 4
    if codec.kind == "packbits":
        return 1 + -(-size // 8)
    config = json.loads(codec.config)
    before = config.get("decode_dtype") or config.get("dtype")
    after = config.get("encode_dtype") or config.get("astype") or before
    if codec.kind in ("shuffle", "bitround") or before is None:
        return size
    return int(size // np.dtype(before).itemsize * np.dtype(after).itemsize)


def _decode_filter(codec: Codec, data: Any) -> Any:
    if codec.kind != "crc32c":
        return _open_codec(codec.config).decode(data)
    content = bytes(data)
    at_start = json.loads(codec.config).get("location") == "start"
    stored, content = (content[:4], content[4:]) if at_start else (content[-4:], content[:-4])
    if int.from_bytes(stored, "little") != crc32c(content):
        raise ValueError("its checksum is not that of its bytes")
    return content


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli; RFC 3720, appendix B.4).

    The bytes are divided into as many rows as a row has bytes, and all rows are worked on at once; 32 rows of zeros
    that begin with one bit each say how the sum of one row goes on through the next.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, bits = _crc32c_table(), np.arange(32, dtype=np.uint32)
    values = np.frombuffer(content, np.uint8)
    rows = max(1, math.isqrt(len(values)))
    steps = len(values) // rows
    columns = np.zeros((steps, rows + 32), np.uint8)
    columns[:, :rows] = values[: rows * steps].reshape(rows, steps).T
    state = np.zeros(rows + 32, np.uint32)
    state[0], state[rows:] = 0xFFFFFFFF, np.uint32(1) << bits
    for column in columns:
        state = table[(state ^ column) & 255] ^ (state >> np.uint32(8))
    onward, total = state[rows:], state[0]
    for row in state[1:rows]:
        total = np.bitwise_xor.reduce(onward[(total >> bits) & 1 == 1]) ^ row
    for value in values[rows * steps :]:
        total = table[(total ^ value) & 255] ^ (total >> np.uint32(8))
    return int(total) ^ 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0x82F63B78), table >> np.uint32(1))
    return table
