"""Zarr format 3 and OME-NGFF 0.5, read without zarr; what zarr 3 writes and reads is the same."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numcodecs
import numpy as np
import pytest
import zarr

from csc_data.errors import UnreadableDataError
from csc_data.formats.codecs import crc32c
from csc_data.formats.reading import open_array
from csc_data.formats.writing import ZARR_3
from csc_data.geometry import Grid
from csc_data.storage.remote import Retries
from csc_data.volumes import open_volume

GRID = Grid(voxel_size=(8, 4, 4), translation=(4, 2, 2), shape=(20, 22, 24))
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [20, 22, 24],
    "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [{"name": "bytes"}],
    "attributes": {"voxel_size": [8, 4, 4], "translation": [4, 2, 2]},
}
needs_zarr_3 = pytest.mark.skipif(not ZARR_3, reason="zarr 2 does not write format 3")


def whole_chunks(data, chunks):
    """Give number and full chunk, with zeros beyond the end of the array."""
    for index in np.ndindex(*[-(-n // c) for n, c in zip(data.shape, chunks, strict=True)]):
        part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        chunk = np.zeros(chunks, data.dtype)
        chunk[tuple(map(slice, part.shape))] = part
        yield index, chunk


def write_array(path, data, chunks, *, shards=None, **changes):
    """Write an array file by file, independent of zarr: zstd in chunks, or in shards with an index at their end."""
    codecs = [BYTES, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}]
    encode = numcodecs.Zstd(1).encode
    if shards:
        index = [BYTES, {"name": "crc32c"}]
        inner = {"chunk_shape": chunks, "codecs": codecs, "index_codecs": index, "index_location": "end"}
        codecs = [{"name": "sharding_indexed", "configuration": inner}]
    metadata = {**ARRAY, "shape": data.shape, "data_type": data.dtype.name, "codecs": codecs, "attributes": {}}
    metadata["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": shards or chunks}}
    path.mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps(metadata | changes))
    for number, block in whole_chunks(data, shards or chunks):
        body = encode(block.tobytes())
        if shards:
            body, table = b"", []
            for _, chunk in whole_chunks(block, chunks):
                content = encode(chunk.tobytes()) if chunk.any() else b""
                table.append((len(body), len(content)) if content else (2**64 - 1,) * 2)
                body += content
            table = np.array(table, "<u8").tobytes()
            body += table + crc32c(table).to_bytes(4, "little")
        file = path.joinpath("c", *map(str, number))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(1, 255, GRID.shape).astype("u1")


@pytest.fixture
def empty_cache(fresh_cache):
    return fresh_cache


@pytest.fixture
def volume(tmp_path, data):
    """A volume of OME-NGFF 0.5 in a folder of buckets, `root/b/x.zarr`; the coarser level is sharded."""
    path = tmp_path / "root" / "b" / "x.zarr"
    datasets = []
    for name, step, chunks, shards in (("s0", 1, (8, 8, 8), None), ("s1", 2, (2, 3, 4), (4, 6, 8))):
        write_array(path / name, data[::step, ::step, ::step], chunks, shards=shards)
        scale, shift = [8.0 * step, 4.0 * step, 4.0 * step], [4.0 * step, 2.0 * step, 2.0 * step]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": name, "coordinateTransformations": steps})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (path / "zarr.json").write_text(json.dumps(group))
    return path


def test_the_checksum_is_crc32c():
    """RFC 3720, appendix B.4, and sizes around the borders of the rows that are worked on at once."""
    assert [crc32c(text) for text in (b"", bytes(32), b"\xff" * 32)] == [0, 0x8A9136AA, 0x62A8AB43]

    def naive(content):
        total = 0xFFFFFFFF
        for value in content:
            total ^= value
            for _ in range(8):
                total = (total >> 1) ^ (0x82F63B78 if total & 1 else 0)
        return total ^ 0xFFFFFFFF

    content = np.random.default_rng(0).bytes(1000)
    for size in (1, 2, 3, 4, 8, 9, 15, 16, 17, 255, 256, 1000):
        assert crc32c(content[:size]) == naive(content[:size])


@needs_zarr_3
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
@pytest.mark.parametrize("shards", [None, (8, 12, 16)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u8", "f4", "?"])
@pytest.mark.parametrize("options", ["none", "gzip", "zstd", "blosc", "crc32c", "transpose", "big", "v2", "lz4"])
def test_it_reads_what_zarr_3_reads(tmp_path, data, options, dtype, shards):
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    how = {
        "none": {"compressors": None},
        "gzip": {"compressors": GzipCodec()},
        "zstd": {"compressors": ZstdCodec(checksum=True)},
        "blosc": {"compressors": BloscCodec(cname="lz4", shuffle="bitshuffle")},
        "crc32c": {"compressors": [ZstdCodec(), Crc32cCodec()]},
        "transpose": {"filters": TransposeCodec(order=(1, 2, 0))},
        "big": {"serializer": BytesCodec(endian="big")},
        "v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "lz4": {"compressors": None},
    }[options]
    if options == "lz4":
        numcodecs_zarr3 = pytest.importorskip("zarr.codecs.numcodecs")
        how = {"compressors": numcodecs_zarr3.LZ4()}
    values = (data % 2).astype(dtype) if dtype == "?" else data.astype(dtype)
    values[:8, :12] = 0
    path = tmp_path / "a"
    array = zarr.create_array(
        str(path), shape=values.shape, dtype=dtype, chunks=(4, 6, 8), shards=shards, zarr_format=3, **how
    )
    array[...] = values
    found = open_array(path)
    assert (found.dtype, found.chunks) == (np.dtype(dtype), (4, 6, 8))
    np.testing.assert_array_equal(found[...], zarr.open_array(str(path), mode="r")[...])
    np.testing.assert_array_equal(found[3:9, 11:13, 7:], values[3:9, 11:13, 7:])


def test_filters_of_numcodecs_and_other_orders_are_undone(tmp_path, data):
    """Independent of zarr: delta before bytes, a transposed chunk, LZ4 behind it."""
    values, chunks = data.astype("<i4"), (8, 8, 8)
    codecs = [
        {"name": "transpose", "configuration": {"order": [2, 0, 1]}},
        {"name": "numcodecs.delta", "configuration": {"dtype": "<i4"}},
        BYTES,
        {"name": "numcodecs.lz4", "configuration": {}},
    ]
    write_array(tmp_path / "a", values, chunks, codecs=codecs)
    for number, chunk in whole_chunks(values, chunks):
        turned = np.ascontiguousarray(chunk.transpose(2, 0, 1))
        content = numcodecs.LZ4().encode(numcodecs.Delta(dtype="<i4").encode(turned.reshape(-1)))
        (tmp_path / "a").joinpath("c", *map(str, number)).write_bytes(content)
    np.testing.assert_array_equal(open_array(tmp_path / "a")[...], values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-1], "it is cut off|not that of its bytes"),
        (lambda content: content[:50], "it is cut off"),
        (lambda content: b"", "it is cut off"),
        (lambda content: content[:-30] + b"\x01" + content[-29:], "not that of its bytes"),
        (lambda content: content[100:], "it is not a Zstandard frame"),
        (lambda content: content[-132:], "it ends before the chunk|it is not a Zstandard frame"),
    ],
)
def test_a_damaged_shard_is_named(volume, change, words, empty_cache):
    shard = volume / "s1" / "c" / "1" / "0" / "1"
    shard.write_bytes(change(shard.read_bytes()))
    array = open_volume(volume).levels[1].array
    assert array[:4].any()
    with pytest.raises(UnreadableDataError, match=f"the chunk .*s1/c/1/0/1 is damaged: .*({words})"):
        array[4:]


def test_a_shard_whose_index_lies_takes_no_memory(volume, empty_cache):
    shard = volume / "s1" / "c" / "0" / "0" / "0"
    table = np.full((8, 2), 2**64 - 1, "<u8")
    table[0] = 0, 2**50
    table[1] = 2**60, 2**63
    shard.write_bytes(table.tobytes() + crc32c(table.tobytes()).to_bytes(4, "little"))
    for box in (slice(0, 4), slice(4, 8)):
        with pytest.raises(UnreadableDataError, match=r"s1/c/0/0/0 is damaged"):
            open_volume(volume).levels[1].array[:2, :3, box]


def test_ngff_0_5_is_read_with_its_grids(volume, data):
    fine, coarse = open_volume(volume).levels
    assert fine.grid == GRID
    assert coarse.grid == Grid(voxel_size=(16, 8, 8), translation=(8, 4, 4), shape=(10, 11, 12))
    np.testing.assert_array_equal(fine.array[...], data)
    np.testing.assert_array_equal(coarse.array[...], data[::2, ::2, ::2])
    np.testing.assert_array_equal(
        open_volume(volume).read(GRID.window((3, 5, 7), (9, 9, 9)), 1), data[3:12, 5:14, 7:16]
    )
    assert coarse.array.chunks == (2, 3, 4)


@pytest.mark.parametrize("box", [(slice(0, 1),) * 3, (slice(3, 17), slice(0, 22), slice(5, 6)), (slice(19, 20),) * 3])
def test_any_box_is_read(volume, data, box, empty_cache):
    fine, coarse = open_volume(volume).levels
    for _ in range(2):
        np.testing.assert_array_equal(fine.array[box], data[box])
        np.testing.assert_array_equal(coarse.array[box], data[::2, ::2, ::2][box])


def test_missing_chunks_are_fill_values_and_damaged_ones_errors(volume, data, empty_cache):
    (volume / "s0" / "c" / "0" / "0" / "0").unlink()
    (volume / "s0" / "c" / "1" / "1" / "1").write_bytes(b"nonsense")
    array = open_volume(volume).levels[0].array
    assert not array[:8, :8, :8].any()
    with pytest.raises(UnreadableDataError, match=r"s0.*damaged"):
        array[8:16]


def test_what_is_written_after_a_read_is_seen_by_the_next(volume, data):
    array = open_volume(volume).levels[1].array
    np.testing.assert_array_equal(array[...], data[::2, ::2, ::2])
    (volume / "s1").rename(volume / "old")
    write_array(volume / "s1", np.full(array.shape, 7, "u1"), (2, 3, 4), shards=(4, 6, 8))
    assert (array[...] == 7).all()


def test_it_is_read_over_a_network(volume, data, s3_server, empty_cache, monkeypatch):
    monkeypatch.setattr("csc_data.storage.remote.DEFAULT_RETRIES", Retries(attempts=3, first_wait=0.01))
    server = s3_server(volume.parents[1], broken="x.zarr/s0/c/1/1/1", fail_first=1)
    opened = open_volume("s3://b/x.zarr", endpoint=server.endpoint)
    assert opened.levels[0].grid == GRID
    np.testing.assert_array_equal(opened.levels[0].array[:8], data[:8])
    np.testing.assert_array_equal(opened.levels[1].array[...], data[::2, ::2, ::2])
    with pytest.raises(UnreadableDataError, match="cannot be read after 3 attempts"):
        opened.read(GRID, 0)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_another_process_goes_on_reading(volume, data, s3_server, method, empty_cache):
    server = s3_server(volume.parents[1])
    opened = open_volume("s3://b/x.zarr", endpoint=server.endpoint)
    opened.read(GRID.window((0, 0, 0), (1, 1, 1)), 0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        np.testing.assert_array_equal(pool.submit(opened.read, GRID, 0).result(240), data)


@pytest.mark.parametrize(
    "change",
    [
        {"data_type": "string"},
        {"data_type": {"name": "x"}},
        {"shape": [20, 22]},
        {"shape": None},
        {"codecs": None},
        {"chunk_grid": {"name": "rectilinear"}},
    ],
)
def test_metadata_that_is_damaged_or_of_something_else_is_refused(tmp_path, change):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "zarr.json").write_text(json.dumps({**ARRAY, **change}))
    with pytest.raises(UnreadableDataError, match=r"a: its zarr\.json is damaged or not supported"):
        open_volume(tmp_path / "a")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"node_type": "group", "attributes": 3}'])
def test_metadata_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(UnreadableDataError, match=r"zarr\.json"):
        open_volume(tmp_path)
