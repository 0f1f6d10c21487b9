import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from csc_data.loader import ArrayInfo
from csc_train.training.hooks.run_record import RunRecord, git_state, plain, split_digest, versions


@pytest.fixture
def record(tmp_path):
    return lambda: json.loads((tmp_path / "logs" / "run.json").read_text())


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.toml").write_text('classes = ["mito"]')
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", folder, *command], check=True)
    return folder


def test_a_run_says_with_what_it_was_made(begin, record, tmp_path):
    run = begin(RunRecord(tmp_path / "train.toml")).start()
    found = record()
    assert found["settings"]["model_name"] == "small"
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert found["device"]["type"] == "cpu"
    assert found["git"] is None
    assert "end" not in found["starts"][0]
    run.epoch()
    run.end()
    assert record()["starts"][0]["end"].items() >= {"how": "done", "step": 4}.items()


def test_packages_that_are_not_installed_have_no_version(monkeypatch):
    monkeypatch.setattr("csc_train.training.hooks.run_record._PACKAGES", ("numpy", "csc-none"))
    assert set(versions()) == {"python", "numpy"}


def test_each_start_is_told(begin, record):
    begin(RunRecord()).start().end("signal")
    begin(RunRecord()).goes_on_from(1, 2).start()
    first, second = record()["starts"]
    assert (first["step"], first["resumed_from"], first["end"]["how"]) == (0, None, "signal")
    assert (second["step"], second["epochs_done"], second["resumed_from"]) == (6, 1, "resume.pth")


def test_a_damaged_record_ends_no_run(begin, record, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run.json").write_text('{"starts": [')
    begin(RunRecord()).goes_on_from(1).start()
    assert len(record()["starts"]) == 1


def test_git_is_asked_for_the_folder_of_the_experiment(repository, tmp_path):
    clean = git_state(repository)
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (repository / "train.toml").write_text("changed")
    assert git_state(repository) == {**clean, "dirty": True}


def test_without_git_there_is_nothing_to_say(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_the_digest_tells_splits_apart_and_not_places():
    def loaders(train, validate):
        def loader(rows):
            crops = [SimpleNamespace(name=name, labels=dict.fromkeys(classes)) for name, classes in rows]
            return SimpleNamespace(patches=SimpleNamespace(reader=SimpleNamespace(crops=crops)))

        return SimpleNamespace(train=loader(train), validation=loader(validate) if validate else None)

    one = split_digest(loaders([("a/crop1", "xy"), ("a/crop2", "x")], [("a/crop3", "x")]))
    assert (one["train"], one["validate"]) == (2, 1)
    assert split_digest(loaders([("a/crop2", "x"), ("a/crop1", "yx")], [("a/crop3", "x")])) == one
    others = [
        loaders([("a/crop1", "xy")], [("a/crop2", "x"), ("a/crop3", "x")]),
        loaders([("a/crop1", "x"), ("a/crop2", "x")], [("a/crop3", "x")]),
        loaders([("a/crop1", "xy"), ("a/crop2", "x")], None),
    ]
    assert len({split_digest(other)["sha256"] for other in others} | {one["sha256"]}) == 4


def test_settings_are_plain():
    given = {
        "info": ArrayInfo(shape=(1, 2, 3), scale=(4, 4, 4)),
        "path": Path("a/b"),
        "scheduler": torch.optim.lr_scheduler.StepLR,
        "model": torch.nn.Identity(),
        "classes": ("mito", "er"),
        "function": plain,
    }
    found = plain(given)
    assert found["info"]["shape"] == [1, 2, 3]
    assert found["scheduler"] == "torch.optim.lr_scheduler.StepLR"
    assert found["model"] == "torch.nn.modules.linear.Identity"
    assert found["function"].endswith("run_record.plain")
    assert json.loads(json.dumps(found)) == found
