"""What a browser gets is the volume that is stored, at its place, whatever its format."""

import json
import struct

import numcodecs
import numpy as np
import pytest
import zarr

from csc_data.formats.writing import ZARR_3
from csc_data.geometry import Grid
from csc_data.view import array_layer
from csc_data.view.layers import Layer
from csc_data.view.serving.levels import EncodedLevel, StoredLevel, serve_array
from csc_data.view.serving.volumes import ServedVolume
from csc_data.volumes import open_volume, write_multiscale

GRID = Grid(voxel_size=(8, 4, 2), translation=(100, 30, 5), shape=(11, 9, 10))
DATA = np.random.default_rng(0).integers(0, 250, GRID.shape).astype("u1")


def address(view, volume):
    """Serve a volume, and return where."""
    source = view._source(Layer(name="x", kind="raw", volume=volume))
    scheme, _, place = source.partition("://")
    return scheme, place.replace("{origin}", f"http://127.0.0.1:{view.server.port}")


def served_as(view, volume):
    """Serve a volume, and read it again as a browser would: from its address alone."""
    return open_volume(address(view, volume)[1])


def assert_same(read, volume):
    assert [level.grid for level in read.levels] == [level.grid for level in volume.levels]
    for ours, theirs in zip(read.levels, volume.levels, strict=True):
        np.testing.assert_array_equal(ours.array[...], theirs.array[...])


def write_format2(path, data=DATA, **changes):
    if ZARR_3:
        array = zarr.create_array(path, shape=data.shape, dtype=data.dtype, zarr_format=2, **changes)
    else:
        array = zarr.open_array(path, mode="w", shape=data.shape, dtype=data.dtype, **changes)
    array[...] = data
    array.attrs.update(voxel_size=[8, 4, 2], translation=[100, 30, 5])
    return path


def write_n5(path, data, block, compression, encode):
    path.mkdir()
    metadata = {
        "dimensions": data.shape[::-1],
        "blockSize": block[::-1],
        "dataType": data.dtype.name,
        "compression": compression,
        "voxel_size": [8, 4, 2],
        "translation": [100, 30, 5],
    }
    (path / "attributes.json").write_text(json.dumps(metadata))
    for index in np.ndindex(*[-(-n // b) for n, b in zip(data.shape, block, strict=True)]):
        part = data[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, block, strict=True))]
        file = path.joinpath(*map(str, index[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(">HH3I", 0, 3, *part.shape[::-1])
        file.write_bytes(header + encode(part.astype(part.dtype.newbyteorder(">")).tobytes()))
    return path


def test_a_multiscale_group_comes_with_all_its_levels(view, tmp_path):
    coarse = Grid(voxel_size=(16, 8, 4), translation=(104, 32, 6), shape=(6, 5, 5))
    write_multiscale(tmp_path / "a", [DATA, DATA[::2, ::2, ::2]], [GRID, coarse], chunks=(4, 4, 4))
    volume = open_volume(tmp_path / "a")
    assert_same(served_as(view, volume), volume)
    assert all(isinstance(serve_array(level.array), StoredLevel) for level in volume.levels)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u4", ">f4", "i2", "<u8"])
def test_chunks_of_format_2_are_sent_as_they_are_stored(view, tmp_path, order, dtype):
    path = write_format2(tmp_path / "a", DATA.astype(dtype), chunks=(4, 5, 6), order=order)
    volume = open_volume(path)
    assert_same(served_as(view, volume), volume)
    level = serve_array(volume.levels[0].array)
    assert level.chunk((0, 1, 0)) == (path / "0.1.0").read_bytes()


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [("f8", "f4"), ("f2", "f4"), ("?", "u1"), ("i8", "u8")],
    ids=["float64", "float16", "bool", "int64"],
)
def test_what_the_browser_does_not_know_is_converted(view, tmp_path, dtype, sent):
    values = DATA % 2 if dtype == "?" else DATA
    volume = open_volume(write_format2(tmp_path / "a", values.astype(dtype), chunks=(4, 5, 6)))
    read = served_as(view, volume)
    assert read.levels[0].dtype == np.dtype(sent)
    assert_same(read, volume)


@pytest.mark.skipif(ZARR_3, reason="zarr 3 names filters by another word")
def test_filters_which_the_browser_passes_over_are_undone(view, tmp_path):
    path = write_format2(tmp_path / "a", DATA.astype("i4"), chunks=(4, 5, 6), filters=[numcodecs.Delta("i4")])
    volume = open_volume(path)
    assert isinstance(serve_array(volume.levels[0].array), EncodedLevel)
    assert_same(served_as(view, volume), volume)


@pytest.mark.parametrize(
    ("compression", "encode"),
    [
        ({"type": "raw"}, bytes),
        ({"type": "gzip", "level": 1}, lambda data: bytes(numcodecs.GZip(1).encode(data))),
        ({"type": "zstd", "level": 1}, lambda data: bytes(numcodecs.Zstd(1).encode(data))),
        ({"type": "bzip2", "blockSize": 9}, lambda data: bytes(numcodecs.BZ2(9).encode(data))),
    ],
    ids=["raw", "gzip", "zstd", "bzip2"],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_n5_is_sent_without_its_headers(view, tmp_path, dtype, compression, encode):
    volume = open_volume(write_n5(tmp_path / "a.n5", DATA.astype(dtype), (4, 5, 6), compression, encode))
    np.testing.assert_array_equal(volume.levels[0].array[...], DATA)
    assert_same(served_as(view, volume), volume)


def test_shards_are_read_in_parts(view, tmp_path, get):
    tensorstore = pytest.importorskip("tensorstore")
    codecs = {"chunk_shape": [4, 4, 4], "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}]}
    metadata = {
        "shape": [20, 17, 24],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}},
        "codecs": [{"name": "sharding_indexed", "configuration": codecs}],
        "attributes": {"voxel_size": [8, 4, 2], "translation": [1, 2, 3]},
    }
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/a/"}, "metadata": metadata}
    stored = tensorstore.open(spec, create=True).result()
    stored.write(np.arange(20 * 17 * 24, dtype="u2").reshape(20, 17, 24)).result()
    volume = open_volume(tmp_path / "a")
    scheme, place = address(view, volume)
    assert scheme == "zarr3"
    assert_same(open_volume(place), volume)
    shard = (tmp_path / "a/c/0/1/0").read_bytes()
    path = place.removeprefix(view.url) + "0/c.0.1.0"
    assert get(path)[2] == shard
    status, headers, part = get(path, Range="bytes=5-24")
    assert (status, part, headers["Content-Range"]) == (206, shard[5:25], f"bytes 5-24/{len(shard)}")
    assert get(path, Range="bytes=-20")[2] == shard[-20:]
    status, headers, body = get(path, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(shard)), b"")


def test_a_chunk_that_is_not_stored_is_not_there(view, tmp_path, get):
    path = write_format2(tmp_path / "a", chunks=(4, 5, 6))
    (path / "0.1.0").unlink()
    place = address(view, open_volume(path))[1].removeprefix(view.url)
    assert get(place + "0/0.1.0")[0] == 404
    assert get(place + "0/0.0.0")[0] == 200


def test_a_chunk_that_cannot_be_read_is_an_error_with_its_path_and_the_rest_is_served(view, tmp_path, get):
    path = write_format2(tmp_path / "a", DATA.astype("f8"), chunks=(4, 5, 6))
    (path / "0.1.0").write_bytes(b"nonsense")
    place = address(view, open_volume(path))[1].removeprefix(view.url)
    status, _, body = get(place + "0/0.1.0")
    assert status == 500
    assert b"0.1.0" in body
    assert get(place + "0/0.0.0")[0] == 200


def test_arrays_in_memory_and_lazy_ones_are_served(view):
    class Lazy:
        shape, dtype, chunks = GRID.shape, np.dtype("f4"), (4, 4, 4)

        def __getitem__(self, box):
            return DATA[box].astype("f4") / 250

    layer = array_layer(Lazy(), "x", "probability", voxel_size=GRID.voxel_size, translation=GRID.translation)
    read = served_as(view, layer.volume)
    assert read.levels[0].grid == GRID
    np.testing.assert_allclose(read.levels[0].array[...], DATA / np.float32(250))


def test_levels_of_two_formats_are_sent_as_one(view, tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    metadata = {
        "shape": [6, 5, 5],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4, 4]}},
        "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [2, 2, 2]}}],
        "attributes": {"voxel_size": [16, 8, 4]},
    }
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/b/"}, "metadata": metadata}
    tensorstore.open(spec, create=True).result().write(DATA[:6, :5, :5]).result()
    fine, coarse = open_volume(write_format2(tmp_path / "a", chunks=(4, 5, 6))), open_volume(tmp_path / "b")
    both = ServedVolume("both", [fine.levels[0], coarse.levels[0]])
    assert both.scheme == "zarr2"
    assert both.read("1/0.0.0") is not None
