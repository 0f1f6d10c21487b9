"""Experiments with folders of their own, on a network that gives raw back: nothing to train."""

import re
from pathlib import Path

import pytest


@pytest.fixture
def folder(world) -> Path:
    """Return the folder of an experiment, with its file."""
    place = Path("experiments/first")
    place.mkdir(parents=True)
    (place / "train_config.py").write_text(world.experiment.read_text("utf-8"), "utf-8")
    return place


def test_what_an_experiment_makes_lies_in_its_folder(run, world, folder):
    before = {path.name for path in world.config.root.iterdir()}
    predicted = run("predict", "-e", "first", "--data", "data")
    assert predicted.exit_code == 0, predicted.output
    assert "next: csc process -e first --data data" in predicted.output
    assert run("process", "-e", "first", "--data", "data").exit_code == 0
    packed = run("pack-results", "-e", "first", "--data", "data")
    assert "csc validate" in packed.output
    assert "csc evaluate" not in packed.output  # there is no truth
    made = {path.name for path in folder.iterdir() if path.suffix != ".py" and not path.name.startswith("_")}
    assert made == {"predictions", "processed", "submission.zarr", "submission.zip"}
    assert {path.name for path in world.config.root.iterdir()} == before


def test_a_submission_is_made_there_too(run, world, folder, unbroken):
    assert "to upload: " in run("submit", "-e", "first", "--data", "data").output
    assert (folder / "submission.zip").read_bytes() == unbroken.archive.read_bytes()
    assert not world.archive.exists()


def test_base_experiment_path_says_the_same_in_a_file(run, world):
    text = "from pathlib import Path\nbase_experiment_path = Path(__file__).parent / 'mine'\n"
    world.edit("import torch\n", f"{text}import torch\n")
    assert run("predict", "experiment.py", "--data", "data", "-c", "1").exit_code == 0
    assert run("process", "experiment.py", "--data", "data").exit_code == 0
    assert {path.name for path in Path("mine").iterdir()} == {"predictions", "processed"}
    assert not (world.config.root / "predictions").exists()


def test_what_another_experiment_predicted_is_left_alone(run, world):
    assert run("predict", "experiment.py", "--data", "data", "-c", "1").exit_code == 0
    world.edit("torch.ones(1)", "torch.full((1,), 2.0)")
    world.edit("device", "random_seed = 7\ndevice")
    refused = run("predict", "experiment.py", "--data", "data", "-c", "1")
    assert refused.exit_code == 1
    assert re.search(r"made otherwise .*\(-o\).*\(-e\)", refused.output, re.DOTALL)


def test_an_experiment_that_is_not_there_and_none_at_all(run, folder):
    near = run("predict", "-e", "frist")
    assert near.exit_code == 1
    assert "did you mean first?" in near.stderr
    neither = run("predict")
    assert neither.exit_code == 2
    assert "CONFIG" in neither.stderr
    assert "-e" in neither.stderr
    (folder / "train_config.py").unlink()
    empty = run("predict", "-e", "first")
    assert empty.exit_code == 1
    assert "has no train_config.py" in empty.stderr
