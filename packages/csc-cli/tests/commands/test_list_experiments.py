import json
from pathlib import Path

from csc_data.formats.writing import write_json
from csc_data.volumes.volume import Grid, write_multiscale

METRICS = "epoch,iou,validation_loss\n1,0.25,0.9\n2,0.5,0.7\n3,0.4,0.8\n"


def made(name, epochs=None, best_metric="iou"):
    folder = Path("experiments", name)
    (folder / "checkpoints").mkdir(parents=True)
    if epochs:
        logs = folder / "logs" / name
        logs.mkdir(parents=True)
        write_json(logs / "run.json", {"settings": {"epochs": epochs, "best_metric": best_metric}})
        (logs / "metrics.csv").write_text(METRICS, "utf-8")
    return folder


def predicted(folder, kind):
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(2, 2, 2))
    import numpy as np

    write_multiscale(folder / kind / "a.zarr" / "crop1" / "mito", [np.zeros((2, 2, 2), np.uint8)], [grid])


def rows(output):
    return {line.split()[0]: " ".join(line.split()[1:]) for line in output.splitlines()[1:]}


def test_each_experiment_has_a_row_that_says_how_far_it_is(run):
    made("new")
    made("under_way", epochs=10)
    made("trained", epochs=3, best_metric="loss")
    predicted(made("predicted", epochs=3), "predictions")
    both = made("processed", epochs=3)
    predicted(both, "predictions")
    predicted(both, "processed")
    done = made("an_experiment_with_a_name_that_is_long", epochs=3)
    (done / "submission.zip").touch()
    (done / "results").mkdir()
    for file, score in (("validation.json", 0.25), ("result.json", 0.125), ("second.json", 0.5)):
        (done / "results" / file).write_text(json.dumps({"overall_score": score}), "utf-8")
    (done / "results" / "broken.json").write_text("{", "utf-8")
    Path("experiments", "notes").mkdir()
    result = run("list")
    assert result.exit_code == 0
    assert rows(result.output) == {
        "new": "not begun - - -",
        "under_way": "epoch 3 of 10 iou 0.500 @2 - -",
        "trained": "trained loss 0.700 @2 - -",
        "predicted": "predicted 1 crop iou 0.500 @2 - -",
        "processed": "processed 1 crop iou 0.500 @2 - -",
        "an_experiment_with_a_...": "submitted iou 0.500 @2 0.250 0.500",
    }
    assert max(map(len, result.output.splitlines())) <= 80


def test_one_is_shown_by_name_or_folder_and_none_says_how_to_make_one(run):
    assert "csc new-experiment NAME" in run("list").output
    made("first")
    made("second", epochs=3)
    assert set(rows(run("list", "second").output)) == set(rows(run("list", "experiments/second").output)) == {"second"}
    missing = run("list", "frist")
    assert missing.exit_code == 1
    assert "did you mean first?" in missing.stderr
