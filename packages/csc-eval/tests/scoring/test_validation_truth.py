"""Predictions for validation crops, scored as if they were test crops."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import csc_eval
from csc_data.errors import MissingDataError
from csc_eval.command.options import evaluate
from csc_eval.locating import locate_errors
from csc_eval.running.result_files import open_scored, read_result
from csc_eval.scoring.validation_truth import build_validation_truth, gather_predictions

VOXEL, SHIFT = [4.0, 2.0, 2.0], [100.0, 50.0, 30.0]


def multiscale(folder, write_array, values, encoding=None):
    steps = [{"type": "scale", "scale": VOXEL}, {"type": "translation", "translation": SHIFT}]
    attributes = {
        "multiscales": [
            {
                "version": "0.4",
                "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"],
                "datasets": [{"path": "s0", "coordinateTransformations": steps}],
            }
        ]
    }
    if encoding:
        attributes["cellmap"] = {"annotation": {"annotation_type": {"encoding": encoding}}}
    write_array(folder / "s0", values, chunks=(8, 8, 8))
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps(attributes))


@pytest.fixture
def data(write_array, tmp_path):
    """A data folder with one training and one validation crop, and processed predictions of the latter."""
    labels = "d/d.zarr/recon-1/labels/groundtruth"
    mito = np.zeros((12, 13, 14), np.uint16)
    mito[1:4, 1:5, 1:5] = 7
    mito[6:9, 6:9, 6:9] = 7  # one id in two pieces: two instances
    er = (mito > 0).astype(np.uint8)
    er[:, :, 10:] = 255
    for crop in ("crop1", "crop2"):
        multiscale(tmp_path / f"data/{labels}/{crop}/mito", write_array, mito)
        multiscale(tmp_path / f"data/{labels}/{crop}/er", write_array, er, {"absent": 0, "present": 1, "unknown": 255})
    place = {"voxel_size": VOXEL, "translation": SHIFT}
    write_array(tmp_path / "data/processed/d.zarr/crop2/mito/s0", mito, attributes=place)
    write_array(tmp_path / "data/processed/d.zarr/crop2/er/s0", np.ones_like(er), attributes=place)
    root = tmp_path / "data/d/d.zarr"
    rows = [
        f'"{usage}","{root}","recon-1/em/fibsem-uint8","{root}","recon-1/labels/groundtruth/{crop}/[mito,er,nuc]"'
        for usage, crop in (("train", "crop1"), ("validate", "crop2"))
    ]
    (tmp_path / "datasplit.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_truth_has_components_place_and_masks(data):
    built = build_validation_truth(data / "datasplit.csv", data / "truth.zarr")
    assert list(built.crops) == ["crop2"]
    assert len(built.skipped) == 1
    assert "crop2/nuc" in built.skipped[0]
    result = csc_eval.score_submission(gather_predictions(built, str(data / "data")), built.path)
    mito, er = result.crops["crop2"]["mito"], result.crops["crop2"]["er"]
    assert (mito.tp, mito.fp, mito.fn, mito.voxel_size) == (2, 0, 0, tuple(VOXEL))
    known = 12 * 13 * 10
    assert er.tp + er.fp == known
    assert er.tp == 3 * 4 * 4 + 27


def test_the_command_scores_validation_crops(data, monkeypatch):
    monkeypatch.chdir(data)
    arguments = ["--datasplit", "datasplit.csv", "--data", "data", "-r", "r.json"]
    result = CliRunner().invoke(evaluate, arguments)
    assert result.exit_code == 0, result.output
    assert "left out: crop2/nuc" in result.stderr
    assert json.loads((data / "r.json").read_text())["label_scores"]["mito"]["f1"] == 1
    read = read_result(data / "r_extended.json")
    assert (read.scored.truth, read.scored.datasplit) == ("", str(data / "datasplit.csv"))
    with open_scored(read) as volumes:  # its truth is built again
        (task,) = volumes.tasks(read, [("crop2", "er")]).values()
        found = locate_errors(task)
        assert found.false_alarms.sum() == read.crops["crop2"]["er"].fp
    both = CliRunner().invoke(evaluate, [*arguments, "-t", "x"])
    assert both.exit_code == 2


def test_no_validation_crops_or_predictions_is_said(data, tmp_path):
    split = data / "train_only.csv"
    split.write_text((data / "datasplit.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(MissingDataError, match="no validation crops"):
        build_validation_truth(split, data / "t2.zarr")
    built = build_validation_truth(data / "datasplit.csv", data / "t3.zarr")
    with pytest.raises(MissingDataError, match="no predictions of crop2"):
        gather_predictions(built, str(tmp_path / "nowhere"))
