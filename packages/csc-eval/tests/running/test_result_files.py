"""A result that was written says what was scored, and is read back as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest

import csc_eval
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError
from csc_eval.running.result_files import open_scored, read_result

PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}


@pytest.fixture
def scored(write_array, tmp_path):
    truth = np.zeros((6, 12, 12), np.uint8)
    truth[1:5, 2:6, 2:6] = 1
    for name in ("mito", "er", "er_mask"):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", np.roll(truth, 1, 2), attributes=PLACE)
    write_array(tmp_path / "t.zarr/crop1/nuc", truth, attributes=PLACE)
    rules = ("leaderboard-2026-06", "pq")
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr", rules=rules, metrics=["ap"])
    csc_eval.write_results(result, tmp_path / "result.json")
    return result, tmp_path


def test_a_result_is_read_back_as_it_was_written(scored):
    result, folder = scored
    assert result.scored.submission == str(folder / "s.zarr")
    assert result.scored.truth == str(folder / "t.zarr")
    read = read_result(folder / "result_extended.json")
    assert replace(read, alternatives=(), differences=()) == replace(result, alternatives=(), differences=())
    assert [other.rules for other in read.alternatives] == ["pq"]
    assert read.to_extended_dict()["crop1"] == result.to_extended_dict()["crop1"]


def test_what_was_scored_is_opened_again(scored):
    folder = scored[1]
    read = read_result(folder / "result_extended.json")
    with open_scored(read) as volumes:
        tasks = volumes.tasks(read, [("crop1", "mito")])
        assert [task.instance for task in tasks.values()] == [True]
    (folder / "s.zarr").rename(folder / "moved.zarr")
    with pytest.raises(MissingDataError), open_scored(read):
        pass
    with open_scored(read, submission=folder / "moved.zarr") as volumes:
        assert volumes.submission.name == str(folder / "moved.zarr")
    with (
        pytest.raises(InvalidArgumentError, match="does not say what was scored"),
        open_scored(replace(read, scored=None)),
    ):
        pass


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"label_scores": 3, "rules": 1}', "x" * 9])
def test_another_file_is_told(tmp_path, text):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(CscError):
        read_result(tmp_path / "r.json")


def test_the_short_result_is_told(scored):
    with pytest.raises(CscError, match=r"not a result_extended\.json"):
        read_result(scored[1] / "result.json")


def test_a_score_that_says_nothing_of_the_voxels_says_so(write_array, tmp_path):
    nothing, noise = np.zeros((6, 8, 8), np.uint8), np.zeros((6, 8, 8), np.uint8)
    noise[1, 1, 1] = 1
    for name, truth, prediction in (("er", nothing, nothing), ("golgi", nothing, noise), ("nuc", noise, noise)):
        write_array(tmp_path / f"t.zarr/crop1/{name}", truth, attributes=PLACE)
        write_array(tmp_path / f"s.zarr/crop1/{name}", prediction, attributes=PLACE)
    result = csc_eval.score_submission(tmp_path / "s.zarr", tmp_path / "t.zarr")
    quirks = {name: (score.score, bool(score.quirk)) for name, score in result.combined.classes.items()}
    assert quirks == {"er": (1.0, True), "golgi": (0.0, True), "nuc": (1.0, False)}
    assert "counts as 1" in result.crops["crop1"]["er"].quirk
    assert json.loads((csc_eval.write_results(result, tmp_path / "r.json")[1]).read_text())["scored"]["time"]
