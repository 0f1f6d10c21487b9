"""The errors of a label, from files: with the mask of the truth, on the crop's grid."""

import numpy as np
import pytest

import csc_eval
from csc_data.errors import InvalidArgumentError
from csc_data.storage.stores.submissions import open_store
from csc_eval.locating import locate_errors
from csc_eval.running.submission import find_contents

PLACE = {"voxel_size": [8.0, 4.0, 4.0], "translation": [80.0, 40.0, 40.0]}


@pytest.fixture
def tasks(write_array, tmp_path):
    """Write a truth and a submission with a semantic and an instance class, and return the tasks by class."""
    truth = np.zeros((8, 16, 16), np.uint8)
    truth[2:6, 4:12, 4:12] = 1
    prediction = np.zeros_like(truth)
    prediction[2:6, 4:12, 4:7] = 1  # the rest is missed
    prediction[5, 13:15, 13:15] = 1
    mask = np.ones_like(truth)
    mask[:3] = 0
    for name in ("er", "mito"):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth, attributes=PLACE)
        write_array(tmp_path / f"t.zarr/crop1/{name}_mask", mask, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", prediction, attributes=PLACE)
    write_array(tmp_path / "t.zarr/crop1/nuc", truth, attributes=PLACE)
    stores = [open_store(tmp_path / name) for name in ("s.zarr", "t.zarr")]
    contents = find_contents(*stores, rules=(csc_eval.DEFINITION,))
    score = csc_eval.score_crop(tmp_path / "s.zarr", tmp_path / "t.zarr", "crop1", rules="definition-2026-06")
    return {task.class_name: task for task in contents.tasks}, score


def test_voxels_of_a_semantic_class_are_those_of_its_score(tasks):
    tasks, score = tasks
    found = locate_errors(tasks["er"])
    assert (found.hits.sum(), found.false_alarms.sum(), found.misses.sum()) == (
        score["er"].tp, score["er"].fp, score["er"].fn,
    )  # fmt: skip
    assert found.counts == {"misses": score["er"].fn, "false alarms": score["er"].fp}
    misses, false_alarms = found.places
    assert false_alarms.voxel[0] == 5
    assert found.worst_plane == 5
    z, y, x = misses.voxel
    assert 3 <= z < 6  # where the mask lets it count
    assert 6 <= y < 10  # in the middle of what lacks
    assert 8 <= x < 11
    assert misses.place_nm == (80 + 8 * z, 40 + 4 * y, 40 + 4 * x)
    truth, prediction = found.read_plane(5)
    assert truth.sum() == 64
    assert prediction.sum() == 24 + 4


def test_objects_of_an_instance_class(tasks):
    found = locate_errors(tasks[0]["mito"])
    assert found.counts == {"inexact": 1, "false": 1}
    assert [place.kind for place in found.places] == ["inexact", "false"]
    assert found.places[1].voxel[0] == 5
    assert found.misses.tolist() == [0, 0, 0, 40, 40, 40, 0, 0]
    truth, prediction = found.read_plane(5)
    assert np.unique(prediction).tolist() == [0, 1, 2]
    assert np.unique(truth).tolist() == [0, 1]


def test_what_was_not_submitted_has_no_places(tasks):
    with pytest.raises(InvalidArgumentError, match="was not submitted"):
        locate_errors(tasks[0]["nuc"])
