"""Zarr format 3 and OME-NGFF 0.5: read where zarr 3 is installed, elsewhere an error that says so."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import zarr

from csc_data.errors import UnreadableDataError
from csc_data.formats.writing import ZARR_3, open_node
from csc_data.geometry import Grid
from csc_data.storage.remote import Retries
from csc_data.volumes import open_volume

GRID = Grid(voxel_size=(8, 4, 4), translation=(4, 2, 2), shape=(20, 22, 24))
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
needs_zarr_3 = pytest.mark.skipif(not ZARR_3, reason="zarr 2 does not read format 3")


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
    group = zarr.create_group(str(path), zarr_format=3)
    datasets = []
    for name, step, options in (
        ("s0", 1, {"chunks": (8, 8, 8)}),
        ("s1", 2, {"chunks": (2, 3, 4), "shards": (4, 6, 8)}),
    ):
        part = data[::step, ::step, ::step]
        array = group.create_array(name, shape=part.shape, dtype=part.dtype, **options)
        array[...] = part
        scale, shift = [8.0 * step, 4.0 * step, 4.0 * step], [4.0 * step, 2.0 * step, 2.0 * step]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": name, "coordinateTransformations": steps})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


@pytest.mark.skipif(ZARR_3, reason="zarr 3 reads format 3")
def test_without_zarr_3_the_error_says_what_to_install(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "zarr.json").write_text(json.dumps(ARRAY))
    for read in (open_volume, open_node):
        with pytest.raises(UnreadableDataError, match="zarr format 3; installing zarr>=3"):
            read(tmp_path / "a")


@needs_zarr_3
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


@needs_zarr_3
@pytest.mark.parametrize("box", [(slice(0, 1),) * 3, (slice(3, 17), slice(0, 22), slice(5, 6)), (slice(19, 20),) * 3])
def test_any_box_is_read(volume, data, box, empty_cache):
    fine, coarse = open_volume(volume).levels
    for _ in range(2):
        np.testing.assert_array_equal(fine.array[box], data[box])
        np.testing.assert_array_equal(coarse.array[box], data[::2, ::2, ::2][box])


@needs_zarr_3
def test_missing_chunks_are_fill_values_and_damaged_ones_errors(volume, data, empty_cache):
    (volume / "s0" / "c" / "0" / "0" / "0").unlink()
    (volume / "s0" / "c" / "1" / "1" / "1").write_bytes(b"nonsense")
    array = open_volume(volume).levels[0].array
    assert not array[:8, :8, :8].any()
    with pytest.raises(UnreadableDataError, match=r"s0.*damaged"):
        array[8:16]


@needs_zarr_3
def test_what_is_written_after_a_read_is_seen_by_the_next(volume, data):
    array = open_volume(volume).levels[1].array
    np.testing.assert_array_equal(array[...], data[::2, ::2, ::2])
    zarr.open_array(str(volume / "s1"), mode="r+")[...] = 7
    assert (array[...] == 7).all()


@needs_zarr_3
def test_it_is_read_over_a_network(volume, data, s3_server, empty_cache, monkeypatch):
    monkeypatch.setattr("csc_data.storage.remote.DEFAULT_RETRIES", Retries(attempts=3, first_wait=0.01))
    server = s3_server(volume.parents[1], broken="x.zarr/s0/c/1/1/1", fail_first=1)
    opened = open_volume("s3://b/x.zarr", endpoint=server.endpoint)
    assert opened.levels[0].grid == GRID
    np.testing.assert_array_equal(opened.levels[0].array[:8], data[:8])
    np.testing.assert_array_equal(opened.levels[1].array[...], data[::2, ::2, ::2])
    with pytest.raises(UnreadableDataError, match="cannot be read after 3 attempts"):
        opened.read(GRID, 0)


@needs_zarr_3
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_another_process_goes_on_reading(volume, data, s3_server, method, empty_cache):
    server = s3_server(volume.parents[1])
    opened = open_volume("s3://b/x.zarr", endpoint=server.endpoint)
    opened.read(GRID.window((0, 0, 0), (1, 1, 1)), 0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        np.testing.assert_array_equal(pool.submit(opened.read, GRID, 0).result(240), data)


@needs_zarr_3
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
