from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from csc_data.errors import CscError, MissingDataError, UnreadableDataError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.splits.voxel_counts import count_annotations
from csc_data.storage.trees import LocalTree
from csc_data.volumes import downsampled_grid, write_multiscale

GRID = Grid(voxel_size=(4, 8, 8), translation=(0, 0, 0), shape=(6, 5, 7))


@pytest.fixture
def labels():
    values = np.zeros(GRID.shape, "u1")
    values[:3] = 1
    values[5] = 255
    return values


def annotate(folder: Path, values, **annotation):
    write_multiscale(
        folder, [values, values[::2, :4:2, :6:2]], [GRID, downsampled_grid(GRID, (2, 2, 2))], chunks=(4, 4, 4)
    )
    if annotation:
        file = folder / "s0" / ".zattrs"
        file.write_text(json.dumps({**json.loads(file.read_text()), "cellmap": {"annotation": annotation}}))


def count(*folders, **options):
    return count_annotations(LocalTree(), [folder.as_posix() for folder in folders], **options)


def test_what_is_not_recorded_is_counted(tmp_path, labels):
    annotate(tmp_path / "a.zarr" / "er", labels)
    ((level,),) = count(tmp_path / "a.zarr" / "er")
    assert (level.voxel_size, level.size, level.present) == (GRID.voxel_size, GRID.size, 4 * 35)


def test_unknown_voxels_are_not_present(tmp_path, labels):
    annotate(tmp_path / "er", labels, annotation_type={"encoding": {"absent": 0, "unknown": 255, "present": 1}})
    ((level,),) = count(tmp_path / "er")
    assert level.present == 3 * 35


def test_what_is_recorded_is_taken_without_reading_voxels(tmp_path, labels):
    annotate(tmp_path / "er", labels, complement_counts={"absent": 100, "unknown": 10})
    for chunk in (tmp_path / "er" / "s0").rglob("[0-9]"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    ((level,),) = count(tmp_path / "er")
    assert level.present == GRID.size - 110


@pytest.mark.parametrize(
    "wrong", [{"absent": -1}, {"absent": 10**6}, {"absent": "many"}, {"absent": None}, {"unknown": 3}, [3], 3]
)
def test_a_record_that_cannot_be_right_is_not_believed(tmp_path, labels, wrong):
    annotate(tmp_path / "er", labels, complement_counts=wrong)
    ((level,),) = count(tmp_path / "er")
    assert level.present == 4 * 35


def test_all_levels_are_counted_where_asked(tmp_path, labels):
    annotate(tmp_path / "er", labels, complement_counts={"absent": 0})
    ((finest, coarse),) = count(tmp_path / "er", all_levels=True)
    assert finest.present == GRID.size
    assert (coarse.voxel_size, coarse.size) == ((8, 16, 16), 3 * 2 * 3)
    assert coarse.present == np.count_nonzero(labels[::2, :4:2, :6:2])


def test_plain_arrays_count_like_groups(tmp_path, labels):
    array = create_array(
        tmp_path / "er", shape=GRID.shape, dtype="u1", chunks=(2, 2, 2), attributes={"voxel_size": [4, 8, 8]}
    )
    array[...] = labels
    for all_levels in (False, True):
        ((level,),) = count(tmp_path / "er", all_levels=all_levels)
        assert (level.voxel_size, level.present) == ((4, 8, 8), 4 * 35)


def test_other_units_are_understood(tmp_path, labels):
    annotate(tmp_path / "er", labels)
    file = tmp_path / "er" / ".zattrs"
    file.write_text(file.read_text().replace("nanometer", "micrometer"))
    ((level,),) = count(tmp_path / "er")
    assert level.voxel_size == (4000, 8000, 8000)


def test_one_bad_annotation_does_not_keep_the_others_from_being_counted(tmp_path, labels):
    for name in ("good", "damaged"):
        annotate(tmp_path / name, labels)
    next(path for path in (tmp_path / "damaged" / "s0").rglob("[0-9]") if path.is_file()).write_bytes(b"damaged")
    (tmp_path / "empty").mkdir()
    good, damaged, empty, none = count(*(tmp_path / name for name in ("good", "damaged", "empty", "none")))
    assert good[0].present == 4 * 35
    assert isinstance(damaged, UnreadableDataError)
    assert "damaged/s0" in str(damaged)
    assert isinstance(empty, MissingDataError)
    assert isinstance(none, CscError)


def test_nothing_is_written(tmp_path, labels):
    annotate(tmp_path / "er", labels)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    count(tmp_path / "er", all_levels=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
