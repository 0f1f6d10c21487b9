"""Chunks that lie: about their size, their length, or what they unpack to."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import tracemalloc
import zlib

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import UnreadableDataError
from csc_data.formats.codecs import DECODING_ERRORS, decode, parse_codec
from csc_data.formats.reading import open_array, open_chunks
from csc_data.storage.limits import Limits
from csc_data.storage.nodes import read_node
from csc_data.storage.stores.places import FolderStore

SIZE = 4096
DATA = np.repeat(np.arange(SIZE // 8, dtype="<u2"), 4)
BLOSC = [
    numcodecs.Blosc(cname=name, shuffle=shuffle) for name in numcodecs.blosc.list_compressors() for shuffle in (0, 1, 2)
]
CODECS = [*BLOSC, numcodecs.Zstd(), numcodecs.LZ4(), numcodecs.GZip(), numcodecs.Zlib(), numcodecs.BZ2()]
CODECS += [numcodecs.LZMA(), numcodecs.LZMA(format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])]
FILTERS = [
    numcodecs.Delta(dtype="<u2"),
    numcodecs.Delta(dtype="<u2", astype="<i4"),
    numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="<u2", astype="<u4"),
    numcodecs.Shuffle(2),
    numcodecs.AsType(encode_dtype="<u4", decode_dtype="<u2"),
    numcodecs.CRC32(),
    numcodecs.Adler32(),
    numcodecs.Fletcher32(),
]


def codecs_of(*codecs):
    return tuple(parse_codec(codec.get_config()) for codec in codecs)


def refused(codec, content, size=SIZE):
    with pytest.raises(DECODING_ERRORS):
        decode(codecs_of(codec), content, size)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_chunk_cut_to_any_length_is_refused(codec):
    content = bytes(codec.encode(DATA))
    assert bytes(decode(codecs_of(codec), content, SIZE)) == DATA.tobytes()
    for length in range(len(content)):
        refused(codec, content[:length])


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("size", [SIZE - 2, SIZE + 2, 1, 10 * SIZE])
def test_a_chunk_of_another_size_is_refused(codec, size):
    refused(codec, bytes(codec.encode(DATA)), size)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_what_follows_a_chunk_is_refused(codec):
    refused(codec, bytes(codec.encode(DATA)) + b"more")


@pytest.mark.parametrize("compressor", [None, numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Blosc()], ids=str)
@pytest.mark.parametrize("filters", [[codec] for codec in FILTERS] + [[FILTERS[1], FILTERS[5]]], ids=str)
def test_filters_are_undone(filters, compressor):
    steps = [*filters, *([compressor] if compressor else [])]
    content = DATA
    for codec in steps:
        content = codec.encode(content)
    found = decode(codecs_of(*steps), bytes(content), SIZE)
    assert np.asarray(found).tobytes() == DATA.tobytes()
    with pytest.raises(DECODING_ERRORS):
        decode(codecs_of(*steps), bytes(content)[:-1], SIZE)


def test_packed_bits_are_undone():
    bits = DATA[:1001] % 2 == 1
    codec = numcodecs.PackBits()
    assert np.array_equal(np.asarray(decode(codecs_of(codec), bytes(codec.encode(bits)), 1001)).view(bool), bits)
    refused(codec, b"\x03" * 126, 1001)


def zstd_frame(*blocks, size=None):
    """Return a frame of RFC 8878 with blocks given as (kind, size, bytes); its size is left open by default."""
    head = b"\x28\xb5\x2f\xfd" + (b"\x00\x70" if size is None else b"\xe0" + size.to_bytes(8, "little"))
    body = b""
    for number, (kind, length, content) in enumerate(blocks):
        body += (length << 3 | kind << 1 | (number == len(blocks) - 1)).to_bytes(3, "little") + content
    return head + body


RUN = 2**17
BOMBS = {
    "blosc": struct.pack("<BBBBIII", 2, 1, 3, 1, 300 * 2**20, 2**20, 4096) + bytes(4080),
    "zstd": zstd_frame(*[(1, RUN, b"x")] * 2400, size=2400 * RUN),
    "zstd without size": zstd_frame(*[(1, RUN, b"x")] * 2400),
    "lz4": (300 * 2**20).to_bytes(4, "little") + b"\x1f\x00\x01\x00" + b"\xff" * 4088,
    "gzip": gzip.compress(bytes(300 * 2**20), 9),
    "gzip, many members": gzip.compress(bytes(2**22), 9) * 100,
    "zlib": zlib.compress(bytes(300 * 2**20), 9),
    "bz2": bz2.compress(bytes(300 * 2**20)),
    "lzma": lzma.compress(bytes(300 * 2**20)),
    "lzma, dictionary": lzma.compress(b"x", lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(name):
    codec = parse_codec({"id": name.partition(" ")[0].strip(",")})
    tracemalloc.start()
    try:
        with pytest.raises(DECODING_ERRORS):
            decode((codec,), BOMBS[name], SIZE)
        assert tracemalloc.get_traced_memory()[1] < 2**24  # LZMA takes 9 MB for its dictionary
    finally:
        tracemalloc.stop()


def test_a_zstandard_frame_that_leaves_its_size_open_is_read_or_refused_in_our_words():
    """numcodecs reads them since 0.16; streams have them, as Java's N5 writes."""
    frame = zstd_frame((0, SIZE, DATA.tobytes()))
    try:
        assert bytes(decode(codecs_of(numcodecs.Zstd()), frame, SIZE)) == DATA.tobytes()
    except RuntimeError:
        assert tuple(map(int, numcodecs.__version__.split(".")[:2])) < (0, 16)
    refused(numcodecs.Zstd(), frame[:-1])


@given(content=st.binary(max_size=200), number=st.integers(0, len(CODECS) + len(FILTERS) - 1))
def test_noise_is_refused(content, number):
    codec = [*CODECS, *FILTERS][number]
    if isinstance(codec, numcodecs.Zstd) or len(content) != SIZE:
        refused(codec, content)


@pytest.mark.parametrize(
    "config",
    [
        {"id": "pickle"},
        {"id": "json2"},
        {"id": "delta", "dtype": "O"},
        {"id": "astype", "encode_dtype": "<U4", "decode_dtype": "<u2"},
        {},
        "gzip",
        None,
    ],
)
def test_codecs_that_are_not_for_numbers_are_refused(config):
    with pytest.raises(ValueError, match="a codec"):
        parse_codec(config)


@pytest.fixture
def array(tmp_path):
    """Write an array of format 2, with changes to its metadata, and return its folder."""

    def write(**changes):
        metadata = {
            "zarr_format": 2,
            "shape": [4, 4, 4],
            "chunks": [2, 2, 2],
            "dtype": "|u1",
            "compressor": {"id": "zlib"},
            "filters": None,
            "fill_value": 0,
            "order": "C",
        }
        (tmp_path / ".zarray").write_text(json.dumps({**metadata, **changes}))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("|u1", 256),
        ("|u1", -1),
        ("|u1", 0.5),
        ("|u1", "1"),
        ("|u1", float("nan")),
        ("<i2", 2**15),
        ("<f4", 1e39),
        pytest.param("<f4", 10**400, id="too long for any float"),
        ("<f4", "much"),
        ("|b1", 2),
        ("<u8", 2**64),
        ("<u8", [1]),
    ],
)
def test_a_fill_value_outside_of_the_dtype_is_refused(array, dtype, fill):
    with pytest.raises(UnreadableDataError, match="fill value"):
        open_array(array(dtype=dtype, fill_value=fill))


@pytest.mark.parametrize(
    ("dtype", "fill", "value"),
    [("<u8", 2**64 - 1, 2**64 - 1), ("<i8", -(2**63), -(2**63)), ("|u1", 7.0, 7), ("<f2", "-Infinity", -np.inf)],
)
def test_the_ends_of_a_dtype_can_fill(array, dtype, fill, value):
    assert open_array(array(dtype=dtype, fill_value=fill))[0, 0, 0] == value


def test_an_array_without_voxels_is_read_as_such(array):
    assert open_array(array(shape=[0, 4, 4]))[...].shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("changes", "limits", "words"),
    [
        ({"chunks": [2, 2, 3]}, {"chunk_bytes": 11}, "at most 11 are read at once"),
        ({}, {"chunks": 7}, "8 chunks"),
        ({}, {"codecs": frozenset({"blosc"})}, "a codec 'zlib', expected one of blosc"),
        ({"filters": [{"id": "delta", "dtype": "|u1"}]}, {"codecs": frozenset({"zlib"})}, "a codec 'delta'"),
        ({}, {"metadata_bytes": 100}, "more than the 100"),
        ({"x": [[[[]]]]}, {"nesting": 3}, "nested more than 3 levels deep"),
    ],
)
def test_limits_are_the_callers(array, changes, limits, words):
    store = FolderStore(array(**changes))
    assert open_chunks(read_node(store)).shape == (4, 4, 4)
    with pytest.raises(UnreadableDataError, match=words):
        open_chunks(read_node(store, limits=Limits(**limits)), limits=Limits(**limits))


def test_a_file_that_is_longer_than_any_chunk_is_not_loaded(array):
    folder = array()
    with (folder / "0.0.0").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(UnreadableDataError, match=r"0\.0\.0 has 17179869184 bytes, more than the"):
        open_array(folder)[...]


def test_metadata_that_are_nested_without_end_are_refused(tmp_path):
    (tmp_path / ".zarray").write_text('{"a":' * 10**5)
    with pytest.raises(UnreadableDataError, match="is not valid JSON"):
        open_array(tmp_path)
