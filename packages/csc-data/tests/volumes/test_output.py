"""Volumes that are written block by block: chunks as files, or in shards of zarr format 3."""

import dataclasses
import importlib
import itertools
import json
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from csc_data.blocks import BlockGrid, BlockRun, Ledger, run_chains
from csc_data.errors import InvalidArgumentError, MissingDataError, MissingPackageError, UnreadableDataError
from csc_data.geometry import Grid
from csc_data.volumes import open_volume
from csc_data.volumes.output import OutputStorage, create_output, open_output_array

GRID = Grid(voxel_size=(8, 4, 4), translation=(4, 2.5, -10), shape=(50, 40, 33))
COARSE = Grid(voxel_size=(16, 8, 8), translation=(8, 4.5, -8), shape=(25, 20, 17))
VALUES = {"csc_values": {"kind": "probability", "one": 255}}


def plain():
    return OutputStorage(dtype="u2", chunks=(8, 8, 8))


def sharded():
    pytest.importorskip("tensorstore")
    return OutputStorage(dtype="u2", chunks=(8, 8, 8), format=3, shards=(32, 16, 30))


def values_of(block):
    return np.random.default_rng(block.index).integers(0, 2**14, block.shape).astype("u2")


def write(path, blocks, order):
    array = open_output_array(path)
    for index in order:
        array[blocks[index].write] = values_of(blocks[index])


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", [plain, sharded])
def test_what_is_written_is_read_at_its_place_whatever_the_order(tmp_path, kind):
    storage = kind()
    block_shape = storage.fit_block((16, 16, 16), GRID.shape)
    blocks = BlockGrid(shape=GRID.shape, block_shape=block_shape)
    expected = np.zeros(GRID.shape, "u2")
    for block in blocks:
        expected[block.write] = values_of(block)
    found = []
    for name, order in (("a", range(len(blocks))), ("b", reversed(range(len(blocks)))), ("c", range(len(blocks)))):
        folder = tmp_path / f"{name}.zarr" / "crop7" / "er"
        create_output(folder, [GRID, COARSE], storage, VALUES)
        if name == "c":
            with ThreadPoolExecutor(4) as threads:  # several write to one shard
                list(threads.map(lambda index, f=folder: write(f / "s0", blocks, [index]), order))
        else:
            write(folder / "s0", blocks, order)
        volume = open_volume(folder)
        assert [level.grid for level in volume.levels] == [GRID, COARSE]
        np.testing.assert_array_equal(volume.levels[0].array[...], expected)
        assert not volume.levels[1].array[...].any()
        found.append(files_of(folder))
    assert found[0] == found[1] == found[2]
    assert len([name for name in found[0] if not name.endswith((".zarray", ".zattrs", ".zgroup", "zarr.json"))]) == (
        storage.count_files(GRID.shape)
    )


def test_files_are_as_many_as_shards_and_described_as_ome_ngff_0_5(tmp_path):
    folder = tmp_path / "jrc_x.zarr" / "crop7" / "er"
    storage = sharded()
    create_output(folder, [GRID], storage, VALUES)
    assert storage.count_files(GRID.shape) == 2 * 3 * 2
    group = json.loads((folder / "zarr.json").read_text())
    assert group["attributes"]["csc_values"] == VALUES["csc_values"]
    assert group["attributes"]["ome"]["version"] == "0.5"
    assert "version" not in group["attributes"]["ome"]["multiscales"][0]
    for above in (folder.parent, folder.parent.parent):
        assert json.loads((above / "zarr.json").read_text())["node_type"] == "group"


def test_zarr_itself_reads_shards(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    storage = sharded()
    blocks = BlockGrid(shape=GRID.shape, block_shape=storage.fit_block((16, 16, 16), GRID.shape))
    create_output(tmp_path / "x.zarr" / "er", [GRID], storage, VALUES)
    write(tmp_path / "x.zarr" / "er" / "s0", blocks, range(len(blocks)))
    array = zarr.open_group(tmp_path / "x.zarr", mode="r")["er/s0"]
    assert array.shards == (32, 16, 32)
    assert array.chunks == (8, 8, 8)
    for block in blocks:
        np.testing.assert_array_equal(array[block.write], values_of(block))


def test_one_format_takes_the_place_of_the_other(tmp_path):
    folder = tmp_path / "x.zarr" / "er"
    for kind in (plain, sharded, plain):
        storage = kind()
        create_output(folder, [GRID], storage, VALUES)
        array = open_output_array(folder / "s0")
        array[:8, :8, :8] = np.full((8, 8, 8), 7, "u2")
        assert array.shape == GRID.shape
        assert array.chunks == (storage.together(GRID.shape) or (8, 8, 8))
        read = open_volume(folder).levels[0].array[...]
        assert (read != 0).sum() == 8**3


def test_levels_can_be_added_to_those_that_are_there(tmp_path):
    for kind in (plain, sharded):
        folder = tmp_path / kind.__name__ / "x.zarr" / "er"
        create_output(folder, [GRID], kind(), VALUES)
        open_output_array(folder / "s0")[:8, :8, :8] = np.ones((8, 8, 8), "u2")
        create_output(folder, [GRID, COARSE], kind(), VALUES, first=1)
        levels = open_volume(folder).levels
        assert [level.grid for level in levels] == [GRID, COARSE]
        assert levels[0].array[...].sum() == 8**3


def test_blocks_divide_shards_and_a_run_takes_a_shard_at_a_time(tmp_path):
    storage = sharded()
    assert storage.together(GRID.shape) == (32, 16, 32)
    assert storage.together((9, 100, 100)) == (16, 16, 32)
    # Of 11 chunks no blocks but single ones could be made.
    large = dataclasses.replace(storage, chunks=(96, 96, 96), shards=(1024, 1024, 1024))
    assert large.together((10_000, 10_000, 10_000)) == (1152, 1152, 1152)
    assert large.fit_block((576, 288, 288), (10_000, 10_000, 10_000)) == (576, 288, 288)
    assert large.count_files((10_000, 10_000, 10_000)) == 729
    assert storage.fit_block((24, 100, 8), GRID.shape) == (16, 16, 8)
    assert storage.fit_block((1, 1, 1), GRID.shape) == (8, 8, 8)
    assert plain().together(GRID.shape) is None
    blocks = BlockGrid(shape=GRID.shape, block_shape=storage.fit_block((16, 16, 16), GRID.shape))
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    order = []
    together = storage.together(GRID.shape)
    run = BlockRun(work=lambda block: order.append(block.begin), grid=blocks, ledger=ledger, together=together)
    run_chains([iter([run])])
    shards = [tuple(b // s for b, s in zip(begin, (32, 16, 32), strict=True)) for begin in order]
    assert len(order) == len(blocks)
    assert len(shards) - sum(a == b for a, b in itertools.pairwise(shards)) == len(set(shards))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": 4}, "no zarr format 4"),
        ({"shards": (64, 64, 64)}, "format 2 has no shards"),
        ({"format": 3, "shards": (64, 0, 64)}, "at least 1 voxel"),
        ({"chunks": (0, 8, 8)}, "at least 1 voxel"),
    ],
)
def test_what_cannot_be_stored_is_refused(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        OutputStorage(**{"dtype": "u1", "chunks": (8, 8, 8), **options})


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(MissingPackageError, match=r'pip install "csc-data\[sharded\]"'):
        OutputStorage(dtype="u1", chunks=(8, 8, 8), format=3)


def test_what_is_not_there_or_damaged_is_one_clear_error(tmp_path):
    with pytest.raises(MissingDataError, match="no zarr format 2 array"):
        open_output_array(tmp_path / "nothing")
    folder = tmp_path / "x.zarr" / "er"
    create_output(folder, [GRID], sharded(), VALUES)
    (folder / "s0" / "zarr.json").write_text("{}")
    with pytest.raises(UnreadableDataError, match="s0 cannot be written to"):
        open_output_array(folder / "s0")


# A module of its own, so that other processes can import it.
WRITER = """
import numpy as np
from csc_data.blocks import BlockGrid
from csc_data.volumes.output import open_output_array

def write(path, shape, first):
    array = open_output_array(path)
    for block in list(BlockGrid(shape=shape, block_shape=(8, 8, 8)))[first::2]:
        array[block.write] = np.full(block.shape, block.index + 1, "u2")
"""


@pytest.mark.slow
def test_processes_write_to_one_shard_at_the_same_time(tmp_path, monkeypatch):
    (tmp_path / "shard_writer.py").write_text(WRITER)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("shard_writer")
    folder, shape = tmp_path / "x.zarr" / "er", (32, 32, 32)
    create_output(folder, [Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=shape)], sharded())
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=module.write, args=(folder / "s0", shape, first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
        assert writer.exitcode == 0
    del sys.modules["shard_writer"]
    array = open_volume(folder).levels[0].array
    for block in BlockGrid(shape=shape, block_shape=(8, 8, 8)):
        assert (array[block.write] == block.index + 1).all()
