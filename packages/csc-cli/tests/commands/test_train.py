from datetime import date
from pathlib import Path

import numpy as np
import pytest

from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.user_config import load_config
from csc_train import EpochRecord, TrainResult


@pytest.fixture
def asked(monkeypatch):
    """Return what a run was asked for, in place of running."""
    found = {}
    Path("x.toml").write_text('classes = ["mito", "er"]')

    def train(experiment, *, config, post_process, **overrides):
        found.update(overrides, experiment=str(experiment.path))
        return TrainResult()

    monkeypatch.setattr("csc_train.train", train, raising=False)
    return found


def test_settings_that_are_given_go_before_the_files(run, asked):
    given = {
        "learning_rate=3e-4": 3e-4,
        "scheduler=cosine": "cosine",
        "model_kwargs={width = 4}": {"width": 4},
        'classes=["mito", "er"]': ["mito", "er"],
        "input_array_info={'shape': (8, 8, 8), 'scale': (8, 8, 8)}": {"shape": (8, 8, 8), "scale": (8, 8, 8)},
        "ema=None": "None",  # which the setting refuses; None would leave the file's
        "compile=True": True,
        "use_s3 = true": True,
        "datasplit_path=/data/my split.csv": "/data/my split.csv",
        "model_name=2d_unet": "2d_unet",
        "logs_save_path=2026-11-22": date(2026, 11, 22),  # TOML says so; the setting then asks for text
    }
    run("train", "x.toml", *(part for text in given for part in ("--set", text)), "--epochs", "3")
    assert asked == {"experiment": "x.toml", "epochs": 3} | {
        text.partition("=")[0].strip(): value for text, value in given.items()
    }


@pytest.mark.parametrize(("word", "value"), [("auto", "latest"), ("never", "fresh"), ("a/b.pth", "a/b.pth")])
def test_a_run_goes_on_or_begins_as_asked(run, asked, word, value):
    run("train", "x.toml", "--resume", word, "--set", "load_model=best")
    assert asked == {"experiment": "x.toml", "load_model": value}
    asked.clear()
    run("train", "x.toml", "--set", "load_model=best")
    assert asked == {"experiment": "x.toml", "load_model": "best"}


@pytest.mark.parametrize("text", ["learning_rate", "learning rate=1", "=3", "model_kwargs.width=4"])
def test_what_is_not_a_setting_is_wrong_use(run, text):
    result = run("train", "x.toml", "--set", text)
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr


def test_names_and_values_are_checked_as_the_files_are(run):
    Path("x.toml").write_text('classes = ["mito"]')
    result = run("train", "x.toml", "--set", "learning_rat=1", "--set", "epochs=many", "--set", "optimizer=adamv")
    assert result.exit_code == 1
    for words in ("did you mean learning_rate?", "epochs: expected a whole number, got 'many'", "'adamv'"):
        assert words in result.stderr


def test_scores_in_training_are_of_what_csc_process_makes(run, monkeypatch):
    Path("x.toml").write_text('classes = ["mito", "er"]\nthreshold = { mito = 0.6 }\nmin_voxels = { mito = 3 }\n')
    asked = {}
    monkeypatch.setattr("csc_train.train", lambda _, **given: asked.update(given) or TrainResult(), raising=False)
    run("train", "x.toml")
    probabilities = np.zeros((2, 4, 9), "f4")
    probabilities[:, :, :2], probabilities[0, 0, 4:6], probabilities[:, :, 7:] = 0.7, 0.7, np.float32(153) / 255
    mito, er = (asked["post_process"](name, probabilities, (8, 8, 8)) for name in ("mito", "er"))
    assert (mito > 0).tolist() == (np.arange(9) < 2)[None, None].repeat(2, 0).repeat(4, 1).tolist()
    np.testing.assert_array_equal(er, probabilities > 0.5)
    Path("x.toml").write_text('classes = ["mito"]\nmin_voxels = -1\n')
    result = run("train", "x.toml")
    assert asked["post_process"] is None
    assert "scores in training go by a threshold of 0.5" in result.output
    assert "min_voxels" in result.output


def test_what_is_wrong_for_all_stages_is_told_once(run):
    Path("x.toml").write_text('classes = ["mitoo"]\nepochs = 0\nlearning_rat = 1\nmin_voxels = -1\n')
    result = run("train", "x.toml")
    assert result.exit_code == 1
    for word in ("mitoo", "epochs", "learning_rat:", "min_voxels"):
        assert result.output.count(word) == 1, word


def test_what_comes_next_is_of_the_network_that_was_trained(run, monkeypatch):
    Path("x.toml").write_text('classes = ["mito"]')
    record = EpochRecord(epoch=1, loss=1.0, learning_rate=1.0, validation=None, seconds=1.0, loading_seconds=0.0)
    trained = TrainResult(records=(record,), latest_checkpoint=Path("made/my net_1.pth"))
    monkeypatch.setattr("csc_train.train", lambda *_, **__: trained, raising=False)
    assert "next: csc predict x.toml -c validation\n" in run("train", "x.toml").output
    crop = next(iter(load_test_crops().values()))
    load_config(data="there").path("raw", dataset=crop.dataset).mkdir(parents=True)
    assert "next: csc predict x.toml --data there\n" in run("train", "x.toml", "--data", "there").output
    output = run("train", "x.toml", "--set", "model_name=my net", "--data", "there").output
    assert "next: csc predict 'made/my net_1.pth' --data there\n" in output
