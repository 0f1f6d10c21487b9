from datetime import date
from pathlib import Path

import pytest

from csc_train import TrainResult


@pytest.fixture
def asked(monkeypatch):
    """Return what a run was asked for, in place of running."""
    found = {}

    def train(experiment, *, config, **overrides):
        found.update(overrides, experiment=experiment)
        return TrainResult()

    monkeypatch.setattr("csc_train.train", train, raising=False)
    return found


def test_settings_that_are_given_go_before_the_files(run, asked):
    given = {
        "learning_rate=3e-4": 3e-4,
        "scheduler=cosine": "cosine",
        "model_kwargs={width = 4}": {"width": 4},
        'classes=["mito", "er"]': ["mito", "er"],
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
