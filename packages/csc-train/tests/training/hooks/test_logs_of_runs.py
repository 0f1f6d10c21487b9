"""What real runs leave in their folder of logs."""

import csv
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from csc_train import train


class Killed(BaseException):
    """Ends a run where it is, as SIGKILL does: no hook of it saves anything."""


def read(folder):
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 0}, purge_orphaned_data=False)
    logs.Reload()
    tags = logs.Tags()
    pictures = {tag: [event.step for event in logs.Images(tag)] for tag in tags["images"]}
    points = {tag: [(event.step, event.value) for event in logs.Scalars(tag)] for tag in tags["scalars"]}
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{name: text for name, text in row.items() if "seconds" not in name} for row in csv.DictReader(file)]
    timed = {"samples_per_second", "data_wait", "memory/process_gb"}
    return points.keys(), {tag: each for tag, each in points.items() if tag not in timed}, pictures, rows


def test_a_run_that_was_killed_twice_leaves_what_an_unbroken_one_does(in_folder, tmp_path):
    whole, parts = (in_folder(name, epochs=3, max_grad_norm=1.0, images=1) for name in ("whole", "parts"))
    train(whole, progress=lambda _: None)
    for epoch, iteration in ((1, 2), (2, 2)):

        def kill(event, at=(epoch, iteration)):
            if event.stage == "train" and (event.epoch, event.iteration) == at:
                raise Killed

        with pytest.raises(Killed):
            train(parts, progress=kill, checkpoint_minutes=1e-9 if epoch == 1 else 10)
    train(parts, progress=lambda _: None)
    expected, found = (read(tmp_path / name / "logs") for name in ("whole", "parts"))
    assert found == expected
    assert {"loss", "lr", "gradient_norm", "validation", "validation_iou/mito", "validation_dice/mito"} <= found[0]
    assert [step for step, _ in found[1]["loss"]] == list(range(1, 10))
    assert found[2] == {"samples/1": [3, 6, 9], "samples/worst": [3, 6, 9]}
    assert [row["epoch"] for row in found[3]] == ["1", "2", "3"]
    record = json.loads((tmp_path / "parts" / "logs" / "run.json").read_text())
    assert [start["step"] for start in record["starts"]] == [0, 1, 3]
    assert record["split"]["train"] == 2


def test_a_run_ends_early_and_stays_ended(settings, capsys):
    waiting = {"learning_rate": 1e-12, "early_stopping_patience": 1, "epochs": 9}
    first = train(settings, **waiting)
    assert (len(first.records), first.stopped) == (2, "no better epoch for 1 epoch")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "  epoch 1/9",
        "  epoch 2/9",
        "  ended after epoch 2",
    ]
    assert train(settings, **waiting).records == ()
