"""Volumes over a network: a real S3 server on loopback, with latency and faults."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import fsspec
import numpy as np
import pytest

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import read_attributes
from csc_data.geometry import Grid
from csc_data.storage.remote import Retries
from csc_data.volumes import downsampled_grid, open_volume, write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 24, 24))
URL = "s3://b/x.zarr/raw"


@pytest.fixture
def data():
    """27 chunks, each with something in it."""
    return np.random.default_rng(0).integers(1, 255, GRID.shape).astype("u1")


@pytest.fixture
def bucket(tmp_path, data):
    """A bucket `b` with a volume of three levels; returns the folder of the buckets."""
    grids = [GRID, downsampled_grid(GRID, (2, 2, 2)), downsampled_grid(GRID, (4, 4, 4))]
    levels = [data, data[::2, ::2, ::2], data[::4, ::4, ::4]]
    write_multiscale(tmp_path / "root" / "b" / "x.zarr" / "raw", levels, grids, chunks=(8, 8, 8))
    return tmp_path / "root"


@pytest.fixture
def quick(monkeypatch):
    """Retries that do not wait long."""
    monkeypatch.setattr("csc_data.storage.remote.DEFAULT_RETRIES", Retries(attempts=3, first_wait=0.01))


@pytest.fixture(autouse=True)
def empty_cache(fresh_cache):
    return fresh_cache


def test_a_volume_of_s3_is_what_it_is_on_disk(bucket, s3_server, data):
    server = s3_server(bucket)
    volume, local = open_volume(URL, endpoint=server.endpoint), open_volume(bucket / "b" / "x.zarr" / "raw")
    assert [level.grid for level in volume.levels] == [level.grid for level in local.levels]
    assert dict(volume.attributes) == dict(local.attributes)
    for order in (0, 1):
        grid = Grid(voxel_size=(6, 9, 17), translation=(3, 20, 9), shape=(30, 17, 9))
        np.testing.assert_array_equal(volume.read(grid, order), local.read(grid, order))
    np.testing.assert_array_equal(volume.read(GRID, 1), data)


def test_opening_asks_for_metadata_alone_and_side_by_side(bucket, s3_server):
    server = s3_server(bucket)
    open_volume(URL, endpoint=server.endpoint)
    stats = server.stats()
    assert (stats["head"], stats["list"]) == (0, 0)
    assert stats["requests"] == 4 * 4  # four names each for the group and three levels


def test_chunks_are_asked_for_once_and_missing_ones_too(bucket, s3_server, data):
    (bucket / "b" / "x.zarr" / "raw" / "s0" / "1" / "1" / "1").unlink()
    data[8:16, 8:16, 8:16] = 0
    server = s3_server(bucket)
    volume = open_volume(URL, endpoint=server.endpoint)
    before = server.stats()["requests"]
    for _ in range(3):
        np.testing.assert_array_equal(volume.read(GRID, 0), data)
    assert server.stats()["requests"] - before == 27
    assert server.stats()["head"] == server.stats()["list"] == 0


def test_threads_that_want_the_same_chunks_fetch_each_once(bucket, s3_server, data):
    server = s3_server(bucket, latency=0.05)
    volume = open_volume(URL, endpoint=server.endpoint)
    before, threads = server.stats()["requests"], 6
    started = threading.Barrier(threads, timeout=60)

    def read():
        started.wait()
        return volume.read(GRID, 0)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(read) for _ in range(threads)]:
            np.testing.assert_array_equal(future.result(120), data)
    assert server.stats()["requests"] - before == 27


def test_the_chunks_of_a_read_are_under_way_at_the_same_time(bucket, s3_server, data):
    server = s3_server(bucket, latency=0.5)
    volume = open_volume(URL, endpoint=server.endpoint)
    volume.read(GRID, 0)
    assert server.stats()["most_at_once"] >= 18


def test_chunks_that_fail_at_first_are_asked_for_again(bucket, s3_server, data, monkeypatch):
    monkeypatch.setattr("csc_data.storage.remote.DEFAULT_RETRIES", Retries(attempts=20, first_wait=1e-6))
    server = s3_server(bucket, errors=0.2, cuts=0.1)
    volume = open_volume(URL, endpoint=server.endpoint)
    np.testing.assert_array_equal(volume.read(GRID, 0), data)


@pytest.mark.parametrize(
    ("fault", "words"), [("denied", "access denied"), ("broken", "cannot be read after 3 attempts")]
)
@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_chunk_that_fails_is_never_taken_for_a_missing_one(bucket, s3_server, quick, fault, words, scheme):
    """zarr 2.18 gives fill values here: its store takes any failure of a file for a chunk that is not stored."""
    server = s3_server(bucket, **{fault: "x.zarr/raw/s0/1/2/0"})
    url = URL if scheme == "s3" else f"{server.endpoint}/b/x.zarr/raw"
    volume = open_volume(url, endpoint=server.endpoint)
    with pytest.raises(UnreadableDataError, match=rf"s0/1/2/0.* {words}|s0/1/2/0: {words}"):
        volume.read(GRID, 0)
    assert volume.read(GRID.window((0, 0, 0), (8, 24, 24)), 0).all()


@pytest.mark.parametrize("fault", ["denied", "broken"])
def test_zarr_arrays_of_urls_do_not_take_failures_for_missing_chunks_either(bucket, s3_server, quick, fault):
    server = s3_server(bucket, **{fault: "x.zarr/raw/s0/1/2/0"})
    array = open_array(f"{URL}/s0", endpoint=server.endpoint)
    assert array[:8].all()
    with pytest.raises(OSError, match=r"denied|Denied|InternalError|SlowDown"):
        array[...]


@pytest.mark.parametrize("fault", ["denied", "broken"])
@pytest.mark.parametrize("name", [".zattrs", "s0/.zarray", "s1/.zattrs"])
def test_metadata_that_fails_is_not_taken_for_missing(bucket, s3_server, quick, fault, name):
    server = s3_server(bucket, **{fault: f"x.zarr/raw/{name}"})
    with pytest.raises(UnreadableDataError, match=name):
        open_volume(URL, endpoint=server.endpoint)


def test_what_is_not_there_is_missing(bucket, s3_server):
    server = s3_server(bucket)
    for url in ("s3://b/x.zarr/nothing", "s3://nobody/x.zarr", f"{server.endpoint}/b/x.zarr/nothing"):
        with pytest.raises(MissingDataError, match=url):
            open_volume(url, endpoint=server.endpoint)
    for name in ("s3://b/x.zarr/nothing", "s3://nobody/x.zarr"):
        with pytest.raises(MissingDataError):
            open_array(name, endpoint=server.endpoint)


def test_arrays_and_attributes_of_urls_are_read(bucket, s3_server, data, monkeypatch, tmp_path):
    server = s3_server(bucket)
    monkeypatch.setattr("csc_data.config.user_config.config_path", lambda: tmp_path / "config.toml")
    (tmp_path / "config.toml").write_text(f'endpoint = "{server.endpoint}"\n')
    np.testing.assert_array_equal(open_array(f"{URL}/s0")[...], data)
    assert "multiscales" in read_attributes(URL)
    assert open_volume(URL).levels[0].grid == GRID


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_another_process_goes_on_reading(bucket, s3_server, data, method):
    """After a fork the event loop, the connections and the cache of the parent are gone, as in workers of a loader."""
    server = s3_server(bucket)
    volume = open_volume(URL, endpoint=server.endpoint)
    volume.read(GRID.window((0, 0, 0), (8, 8, 8)), 0)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for future in [pool.submit(volume.read, GRID, 0) for _ in range(4)]:
            np.testing.assert_array_equal(future.result(240), data)
    np.testing.assert_array_equal(volume.read(GRID, 0), data)


def test_a_volume_can_be_pickled(bucket, s3_server, data):
    server = s3_server(bucket)
    volume = pickle.loads(pickle.dumps(open_volume(URL, endpoint=server.endpoint)))
    np.testing.assert_array_equal(volume.read(GRID, 0), data)


def test_plain_groups_are_listed(bucket, s3_server):
    folder = bucket / "b" / "x.zarr" / "raw"
    (folder / ".zattrs").unlink()
    server = s3_server(bucket)
    assert [level.name for level in open_volume(URL, endpoint=server.endpoint).levels] == ["s0", "s1", "s2"]


def test_volumes_of_other_places_are_read(bucket, data, tmp_path):
    folder = bucket / "b" / "x.zarr"
    memory = fsspec.filesystem("memory")
    files = [place for place in folder.rglob("*") if place.is_file()]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for place in files:
            name = place.relative_to(folder).as_posix()
            archive.write(place, name)
            memory.pipe(f"/test_remote_volumes/{name}", place.read_bytes())
    for url in (
        (folder / "raw").as_uri(),
        "memory://test_remote_volumes/raw",
        f"zip://raw::{(tmp_path / 'x.zip').as_uri()}",
    ):
        volume = open_volume(url)
        assert [level.grid.shape for level in volume.levels] == [(24, 24, 24), (12, 12, 12), (6, 6, 6)]
        np.testing.assert_array_equal(volume.read(GRID, 0), data)


def test_an_n5_is_read_over_the_network(tmp_path, s3_server):
    folder = tmp_path / "root" / "b" / "x.n5" / "em" / "s0"
    folder.mkdir(parents=True)
    metadata = {"dimensions": [3, 2, 1], "blockSize": [3, 2, 1], "dataType": "uint8", "compression": {"type": "raw"}}
    (folder / "attributes.json").write_text(json.dumps({**metadata, "resolution": [4, 5, 6]}))
    (folder / "0" / "0").mkdir(parents=True)
    (folder / "0" / "0" / "0").write_bytes(bytes([0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1]) + bytes(range(6)))
    server = s3_server(tmp_path / "root")
    volume = open_volume("s3://b/x.n5/em/s0", endpoint=server.endpoint)
    assert volume.levels[0].array[...].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert volume.levels[0].grid.voxel_size == (6, 5, 4)
    assert open_array("s3://b/x.n5/em/s0", endpoint=server.endpoint)[0, 1].tolist() == [3, 4, 5]


def test_paths_with_a_drive_letter_are_local(tmp_path, monkeypatch, data):
    """On Windows such a path is a place; here it is a name, which must not be asked of the network."""
    monkeypatch.chdir(tmp_path)
    name = "C:/x.zarr" if os.name != "nt" else str(tmp_path / "x.zarr")
    with pytest.raises(MissingDataError, match="does not exist"):
        open_volume(name)
    with pytest.raises(MissingDataError, match="does not exist"):
        open_volume(r"D:\data\x.zarr\recon-1\em\fibsem-uint8")
