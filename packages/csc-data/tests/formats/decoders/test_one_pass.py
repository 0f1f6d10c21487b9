"""An array read in one pass holds what it holds when it is read at once."""

import itertools
import json

import numcodecs
import numpy as np
import pytest

from csc_data.errors import UnreadableDataError
from csc_data.formats.chunk_files import decode_chunk
from csc_data.formats.decoders import one_pass
from csc_data.formats.decoders.one_pass import OnePass
from csc_data.formats.reading import find_chunks
from csc_data.storage.nodes import read_node
from csc_data.storage.stores.places import FolderStore


def write(folder, values, chunks, fill=0):
    """Write an array file by file, without the chunks that hold the fill value alone."""
    codec = numcodecs.Blosc()
    metadata = {"shape": values.shape, "chunks": chunks, "dtype": values.dtype.str, "fill_value": fill, "order": "C"}
    metadata |= {"zarr_format": 2, "compressor": codec.get_config(), "filters": None}
    folder.mkdir()
    (folder / ".zarray").write_text(json.dumps(metadata))
    for begin, end in pieces(chunks, values.shape, (1, 1, 1)):
        part = values[tuple(map(slice, begin, end))]
        chunk = np.full(chunks, fill, values.dtype)
        chunk[tuple(map(slice, part.shape))] = part
        if (chunk != fill).any():
            name = ".".join(str(b // c) for b, c in zip(begin, chunks, strict=True))
            (folder / name).write_bytes(codec.encode(chunk))
    return find_chunks(read_node(FolderStore(folder)))


def pieces(chunks, shape, times):
    edges = [[*range(0, n, c * k), n] for n, c, k in zip(shape, chunks, times, strict=True)]
    for box in itertools.product(*(itertools.pairwise(ends) for ends in edges)):
        yield [b for b, _ in box], [e for _, e in box]


@pytest.fixture
def values():
    volume = np.zeros((20, 30, 50), np.uint16)
    volume[3:9, 4:12, 5:40] = np.arange(35)
    volume[18:, 28:, 49] = 7
    return volume


@pytest.mark.parametrize("fill", [0, 3])
@pytest.mark.parametrize("times", [(1, 1, 1), (2, 1, 3)])
def test_boxes_are_those_of_the_array(values, fill, times, tmp_path):
    reader = OnePass(write(tmp_path / "a", values, (8, 16, 16), fill))
    empty = 0
    for begin, end in pieces((8, 16, 16), values.shape, times):
        found, expected = reader.read(begin, end), values[tuple(map(slice, begin, end))]
        empty += found is None
        np.testing.assert_array_equal(np.zeros_like(expected) if found is None else found, expected)
    assert empty == 0 if fill else empty > 2


def test_chunks_of_zeros_are_unpacked_once(tmp_path, monkeypatch):
    array = write(tmp_path / "a", np.ones((40, 40, 200), np.uint32), (40, 40, 40))
    for number in range(4):
        (tmp_path / f"a/0.0.{number}").write_bytes(numcodecs.Blosc().encode(np.zeros((40, 40, 40), np.uint32)))
    unpacked = []

    def decode(*arguments):
        unpacked.append(arguments)
        return decode_chunk(*arguments)

    monkeypatch.setattr(one_pass, "decode_chunk", decode)
    reader = OnePass(array)
    found = [reader.read((0, 0, x), (40, 40, x + 40)) for x in range(0, 200, 40)]
    assert [box is None for box in found] == [True, True, True, True, False]
    assert len(unpacked) == 2


def test_a_damaged_chunk_is_named(values, tmp_path):
    reader = OnePass(write(tmp_path / "a", values, (8, 16, 16)))
    (tmp_path / "a/0.0.1").write_bytes(b"")
    with pytest.raises(UnreadableDataError, match=r"0\.0\.1 is damaged"):
        reader.read((0, 0, 16), (8, 16, 32))
