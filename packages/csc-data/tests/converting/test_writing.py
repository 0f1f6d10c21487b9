import hashlib
from dataclasses import replace

import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.converting import Conversion, open_source, plan_conversion, write_volumes
from csc_data.errors import ExistingOutputError, UnreadableDataError
from csc_data.storage.room import DiskFullError
from csc_data.volumes import open_volume

SHAPE = (200, 70, 40)


@pytest.fixture
def source(tmp_path) -> str:
    np.save(tmp_path / "raw.npy", np.random.default_rng(0).integers(0, 9, SHAPE, np.uint8))
    return str(tmp_path / "raw.npy")


def plan(source, out, **wanted):
    (found,) = plan_conversion(Conversion(source=source, out=str(out), voxel_size=(8, 8, 8), **wanted), Config())
    return found


def digests(folder) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*")) if file.is_file() and ".ledger" not in file.name
    }  # fmt: skip


def test_raw_is_averaged_and_of_labels_the_most_frequent_is_taken(source, tmp_path):
    values = np.load(source)
    write_volumes([plan(source, tmp_path / "raw.zarr"), plan(source, tmp_path / "ids.zarr", kind="labels")])
    raw, ids = open_volume(tmp_path / "raw.zarr"), open_volume(tmp_path / "ids.zarr")
    assert [level.grid.shape for level in raw.levels] == [(200, 70, 40), (100, 35, 20), (50, 18, 10)]
    eight = values[6:8, 10:12, 4:6].ravel()
    assert abs(int(raw.levels[1].array[3:4, 5:6, 2:3][0, 0, 0]) - eight.mean()) <= 0.5
    counts = np.bincount(eight)
    assert counts[int(ids.levels[1].array[3:4, 5:6, 2:3][0, 0, 0])] == counts.max()
    assert raw.levels[1].grid.translation == (4, 4, 4)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_run_that_was_killed_goes_on_and_gives_the_same_bytes(source, tmp_path, stop):
    whole = tmp_path / "whole" / "a.zarr"
    write_volumes([plan(source, whole)])
    begun = plan(source, tmp_path / "begun" / "a.zarr")
    reads = []

    def read(box):
        if len(reads) == stop:
            raise KeyboardInterrupt
        reads.append(box)
        return begun.source.read(box)

    with pytest.raises(KeyboardInterrupt):
        write_volumes([replace(begun, source=replace(begun.source, read=read))])
    with pytest.raises(UnreadableDataError, match="is not finished; run"):
        open_source(begun.folders[0])
    told = []
    assert write_volumes([begun], progress=lambda done, total: told.append((done, total))) == 1
    assert told[0] == (stop, 4)
    assert digests(whole) == digests(tmp_path / "begun" / "a.zarr")
    assert write_volumes([begun]) == 0


def test_another_source_does_not_go_on_with_what_is_there(source, tmp_path):
    out = tmp_path / "a.zarr"
    write_volumes([plan(source, out)])
    before = digests(out)
    np.save(source, np.zeros(SHAPE, np.uint8))
    with pytest.raises(ExistingOutputError, match=r"made otherwise .*source"):
        write_volumes([plan(source, tmp_path / "new.zarr"), plan(source, out)])
    assert digests(out) == before
    assert not (tmp_path / "new.zarr").exists()
    assert not list(tmp_path.glob(".*.runs"))
    write_volumes([plan(source, out)], "overwrite")
    assert not np.asarray(open_volume(out).levels[0].array[:, :, :]).any()


def test_a_full_disk_is_told_before(source, tmp_path, monkeypatch):
    monkeypatch.setattr("csc_data.storage.room.free_bytes", lambda place: 1000)
    with pytest.raises(DiskFullError, match=r"take about 639.0 kB"):
        write_volumes([plan(source, tmp_path / "a.zarr")])
    assert not (tmp_path / "a.zarr").exists()
