"""A run's page says what lies on the disk, and what does not."""

import csv
import json
import os
import shutil
import time

import numpy as np
import pytest

import csc_eval
from csc_data.challenge.classes.own import read_classes
from csc_data.errors import CscError, InvalidArgumentError
from csc_data.formats.writing import create_array
from csc_train.logs.event_files import EventWriter, scalar
from csc_train.report import NoRunError, RunReportOptions, find_run, read_run, write_run_report

pytest.importorskip("jinja2")
COLUMNS = "epoch step loss learning_rate seconds loading_seconds validation_loss iou iou/mito"
PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
HOSTILE = "<script>alert(1)</script>"


def write_run(folder, name="net", epochs=4, **settings):
    """Write the logs of a run below a folder, and return theirs."""
    logs = folder / "tensorboard" / name
    logs.mkdir(parents=True)
    given = {"classes": ["mito", HOSTILE], "best_metric": "iou", "architecture": "3d_unet_s", **settings}
    end = {"time": "2026-01-01T11:30:00+00:00", "how": "done"}
    record = {
        "model_name": name,
        "experiment": str(folder / f"{name}.py"),
        "settings": given,
        "versions": {"python": "3.11.7", "torch": "2.4"},
        "git": {"commit": "c0ffee", "dirty": True},
        "split": {"train": 5, "validate": 1, "sha256": "abc123"},
        "device": {"type": "cpu", "name": "x", "system": "Linux"},
        "starts": [{"time": "2026-01-01T10:00:00+00:00", "host": "vm", "end": end}],
    }
    (logs / "run.json").write_text(json.dumps(record))
    with (logs / "metrics.csv").open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS.split())
        for epoch in range(1, epochs + 1):
            iou = 0.9 if epoch == 3 else 0.1 * epoch
            table.writerow([epoch, 10 * epoch, 1 / epoch, 0.01, 100, 25, 1.5 / epoch, iou, iou / 2])
    writer = EventWriter(logs)
    for step in range(1, 10 * epochs + 1):
        writer.write(step, [scalar("loss", 2 / step), scalar("lr", 0.01)])
    writer.write(10, [scalar("memory/process_gb", 1.25)])
    writer.close()
    return logs


def write_result(folder, logs, names=("mito", "er")):
    """Write a submission, its truth, and the result of scoring it among the logs of a run."""
    truth = np.zeros((6, 16, 16), np.uint8)
    truth[1:5, 4:12, 4:12] = 1
    for crop in ("crop1", "crop2"):
        for name in names:
            shift = 2 if crop == "crop1" else 0
            for store, values in (("t.zarr", truth), ("s.zarr", np.roll(truth, shift, 2))):
                path = folder / store / crop / name
                create_array(path, shape=truth.shape, dtype=truth.dtype, chunks=truth.shape, attributes=PLACE)[:] = (
                    values
                )
    result = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr")
    csc_eval.write_results(result, logs / "result.json")
    return result


def test_a_run_with_everything(tmp_path):
    logs = write_run(tmp_path)
    result = write_result(tmp_path, logs)
    page, (run,) = write_run_report([tmp_path], tmp_path / "out" / "r.html")
    text = page.read_text()
    assert run.missing == []
    for words in (
        "abc123", "c0ffee, with changes since", "python", "3.11.7", "best epoch", "3 of 4, iou 0.9000",
        "7 min, 25% of it waiting for data", "1.25 GB in the process", "1 h 30 min",
        f"{result.overall_score:.4f}", "crop1 / mito", "Worst labels", "Best labels", "Learning rate",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("data:image/png") >= 4
    assert text.count("<polyline") >= 6
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_run_is_found_by_its_folder_its_experiment_and_its_checkpoints(tmp_path):
    logs, other = write_run(tmp_path), write_run(tmp_path, "net_2")
    (tmp_path / "checkpoints").mkdir()
    for name in ("net.py", "checkpoints/net_3.pth", "checkpoints/net_2_12.pth", "checkpoints/net_2_resume.pth"):
        (tmp_path / name).touch()
    assert find_run(logs) == logs
    assert find_run(tmp_path / "net.py") == logs
    assert find_run(tmp_path / "checkpoints/net_3.pth") == logs
    assert find_run(tmp_path / "checkpoints/net_2_12.pth") == other
    assert find_run(tmp_path / "checkpoints/net_2_resume.pth") == other
    with pytest.raises(InvalidArgumentError, match=r"holds several runs.*net_2"):
        find_run(tmp_path)
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "nowhere", "checkpoints/other_3.pth"):
        with pytest.raises(NoRunError):
            find_run(tmp_path / nothing)


@pytest.mark.parametrize("lacks", ["run.json", "metrics.csv", "events*"])
def test_what_is_missing_is_said_and_the_rest_is_shown(tmp_path, lacks):
    logs = write_run(tmp_path)
    for file in logs.glob(lacks):
        file.unlink()
    page, (run,) = write_run_report([logs], tmp_path / "r.html")
    assert len(run.missing) == 2  # and there is no result
    text = page.read_text()
    assert "there is no result file" in text
    assert ("abc123" in text) == (lacks != "run.json")
    assert "<polyline" in text


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"settings": null, "split": null, "starts": [{}]}'])
def test_a_damaged_record_is_said(tmp_path, content):
    logs = write_run(tmp_path)
    (logs / "run.json").write_text(content)
    page, _ = write_run_report([logs], tmp_path / "r.html")
    assert "<polyline" in page.read_text()


def test_predictions_that_are_gone_leave_scores_without_pictures(tmp_path):
    logs = write_run(tmp_path)
    result = write_result(tmp_path, logs)
    shutil.move(tmp_path / "s.zarr", tmp_path / "moved.zarr")
    text = write_run_report([logs], tmp_path / "r.html")[0].read_text()
    assert "there are no pictures" in text
    assert f"{result.overall_score:.4f}" in text
    options = RunReportOptions(submission=tmp_path / "moved.zarr", results=[logs / "result_extended.json"])
    assert "data:image/png" in write_run_report([logs], tmp_path / "r.html", options)[0].read_text()
    with pytest.raises(CscError, match="there is no file"):
        read_run(logs, [tmp_path / "other.json"])


def test_a_submission_that_was_written_after_it_was_scored_is_told(tmp_path):
    logs = write_run(tmp_path)
    write_result(tmp_path, logs)
    later = time.time() + 60
    os.utime(tmp_path / "s.zarr" / "crop2", (later, later))
    _, (run,) = write_run_report([tmp_path], tmp_path / "r.html")
    assert run.missing == [
        f"result_extended.json is an old score: {tmp_path / 's.zarr'} was written after it was scored; `csc evaluate` "
        "scores it anew"
    ]
    assert "is an old score" in (tmp_path / "r.html").read_text()


def test_own_classes_have_their_colours(tmp_path):
    write_result(tmp_path, write_run(tmp_path), names=("synapse", "er"))
    (tmp_path / "classes.toml").write_text('[classes.synapse]\ncolour = "#123456"\n')
    table = read_classes(tmp_path / "classes.toml")
    pages = [
        write_run_report([tmp_path], tmp_path / f"{number}.html", RunReportOptions(table=one))[0].read_text()
        for number, one in enumerate((None, table))
    ]
    assert [page.count("#123456") > 0 for page in pages] == [False, True]


def test_runs_are_compared_class_by_class(tmp_path):
    first, second = write_run(tmp_path / "a", epochs=4), write_run(tmp_path / "b", epochs=2, learning_rate=0.5)
    text = write_run_report([first, second], tmp_path / "r.html")[0].read_text()
    assert "Scores of validation in the best epoch of each run" in text
    assert "0.4500 *" in text
    assert "-0.3500" in text  # 0.1 of epoch 2 against 0.45
    assert "learning_rate" in text
    assert "abc123" in text
    write_result(tmp_path, first)
    text = write_run_report([first, second], tmp_path / "r.html")[0].read_text()
    assert "these are not the same measure" in text
