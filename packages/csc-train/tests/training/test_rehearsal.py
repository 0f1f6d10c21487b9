"""What can be proven of a run is proven before its first step: mistakes are one line each, and nothing is trained."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn

from csc_data.errors import CscError
from csc_models.errors import ModelError
from csc_train import rehearse_training, train
from csc_train.devices import DeviceMemoryError
from csc_train.training.rehearsal import bytes_kept
from csc_train.training.train import set_up_run


class Failing(nn.Module):
    """Fails as a network does on a device."""

    def __init__(self, error):
        super().__init__()
        self.layer = nn.Conv3d(1, 2, 1)
        self.error = error

    def forward(self, x):
        raise self.error


def test_a_rehearsal_says_what_a_run_takes_and_leaves_nothing(settings, tmp_path):
    found = rehearse_training(settings)
    text = "\n".join(found.lines)
    for words in ("training: 2 crops", "mito: ", "% present", "validation: ", "checkpoints: ", "weights, 1 x cpu"):
        assert words in text
    assert "an epoch" in text
    assert found.seconds_per_epoch > 0
    assert not list(tmp_path.rglob("*"))


def test_a_rehearsal_writes_nothing(settings, data_folder, tmp_path, caplog):
    split = tmp_path / "new" / "split.csv"
    rehearse_training(settings, config=data_folder.config, datasplit_path=split)
    assert "would make" in caplog.text
    assert not list(tmp_path.rglob("*"))
    train(settings, epochs=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    first = settings.model_save_path.format(model_name="small", epoch=1)
    rehearse_training(settings, epochs=2, load_model=first)  # where training sets aside what is later
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_run_after_a_rehearsal_is_the_same_run(settings, in_folder, weights):
    run = set_up_run(settings, None)
    before = {name: value.clone() for name, value in run.state.network.state_dict().items()}
    from csc_train.training.rehearsal import rehearse

    rehearse(run)
    assert all(torch.equal(value, before[name]) for name, value in run.state.network.state_dict().items())
    assert run.loaders.train.epoch == 0
    assert all(parameter.grad is None for parameter in run.state.network.parameters())


def test_a_class_that_nobody_annotated_is_told(settings):
    text = "\n".join(rehearse_training(settings, classes=("mito", "er")).lines)
    assert "er: nobody annotated it" in text


MISTAKES = {
    "no such device": ({"device": "cuda:7"}, "there is no device cuda:7"),
    "no such strategy": ({"strategy": "dpd"}, "no strategy 'dpd' .did you mean "),
    "micrometres": ({"input_array_info": {"shape": (16, 16, 16), "scale": (0.008,) * 3}}, "in micrometres"),
    "a class named twice": ({"classes": ("mito", "mito")}, "classes: mito is named twice"),
    "no patches": ({"batch_size": 0}, "batch_size: must be at least 1"),
    "two axes": ({"input_array_info": {"shape": (16, 16, 16), "scale": (8, 8)}}, "scale: expected 3 values"),
    "steps uphill": ({"learning_rate": -1e-3}, "learning_rate: must be above 0"),
    "more than any memory holds": (
        {"batch_size": 64, "input_array_info": {"shape": (2**12,) * 3, "scale": (8, 8, 8)}},
        "more memory than there is.*smaller batch_size",
    ),
    "no such network": ({"architecture": "3d_unett"}, "3d_unet"),
    "no such argument of the network": ({"model_kwargs": {"widht": 3}}, "widht"),
    "no such argument of the optimizer": ({"optimizer_kwargs": {"momentum": 2}}, "momentum"),
    "no such metric": ({"best_metric": "dise"}, "did you mean dice"),
    "no such criterion": ({"criterion": "bcee"}, "bce"),
    "no such class": ({"classes": ("mitoo",)}, "mito"),
    "no such datasplit": ({"datasplit_path": Path("nowhere/datasplit.csv")}, "datasplit"),
    "no such weights": ({"model_to_load": "nobody"}, "nobody"),
    "no such optimizer": ({"optimizer": "adamm"}, "adamw"),
    "a patch that the network does not take": (
        {"model_kwargs": {"width": 2, "depth": 5}, "input_array_info": {"shape": (12, 12, 12), "scale": (8, 8, 8)}},
        "12",
    ),
    "a network of flat patches": ({"architecture": "2d_unet_s", "model_kwargs": {}}, "16"),
    "a target larger than what the network gives": (
        {"target_array_info": {"shape": (32, 32, 32), "scale": (8, 8, 8)}},
        "32",
    ),
    "a step size that is not a number": ({"learning_rate": float("nan")}, "learning_rate"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_common_mistakes_are_told_before_the_first_step(settings, name, tmp_path):
    changes, words = MISTAKES[name]
    with pytest.raises((CscError, ModelError), match=words):
        rehearse_training(settings, **changes)
    with pytest.raises((CscError, ModelError), match=words):
        train(settings, **changes)
    assert not list(tmp_path.rglob("*.pth"))


def test_a_datasplit_with_missing_files_is_told(settings, tmp_path):
    (tmp_path / "split.csv").write_text('"train","/nowhere/x.zarr","raw","/nowhere/x.zarr","labels/crop1/[mito]"\n')
    with pytest.raises(CscError, match=r"nowhere.*does not exist; the datasplit names x/crop1.*make-datasplit"):
        train(settings, datasplit_path=tmp_path / "split.csv")


def test_a_checkpoint_of_another_network_is_told(settings, tmp_path):
    wide = train(settings, epochs=1, model_kwargs={"width": 4, "depth": 2})
    with pytest.raises(CscError, match=r"do not fit the network: .*choose another model_name"):
        train(settings)
    aside = wide.latest_checkpoint.rename(tmp_path / "other.pth")
    for changes in ({}, {"classes": ("mito",)}):
        with pytest.raises(ModelError, match=r"other\.pth: the weights do not fit the network"):
            train(settings, load_model=aside, model_name="other", **changes)


def test_a_place_that_cannot_be_written_is_told(settings, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CscError, match=r"model_save_path: .* cannot be written.*choose another model_save_path"):
        train(settings, model_save_path=str(tmp_path / "file" / "{epoch}.pth"))
    with pytest.raises(CscError, match="logs_save_path"):
        train(settings, logs_save_path=str(tmp_path / "file"))


def test_a_disk_without_room_is_told(settings, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(CscError, match=r"will be kept, and the disk has .* left"):
        train(settings)


def test_the_disk_that_is_asked_for_is_enough(settings, tmp_path):
    result = train(settings, epochs=6)
    kept = sum(path.stat().st_size for path in result.latest_checkpoint.parent.iterdir())
    run = set_up_run(dataclasses.replace(settings, epochs=6), None)
    headers = 5 * 20_000  # what files hold besides numbers counts only for networks as small as this one
    assert kept <= bytes_kept(run) + headers


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            DeviceMemoryError,
            "2 patches of .*16, 16, 16.*smaller batch_size",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            DeviceMemoryError,
            "smaller batch_size",
        ),
        (RuntimeError("expected 5D input\nmore"), CscError, "does not go through .*expected 5D input"),
    ],
)
def test_what_the_first_batch_shows_is_explained(settings, error, kind, words):
    network = Failing(error)
    for start in (rehearse_training, train):
        with pytest.raises(kind, match=words):
            start(dataclasses.replace(settings, model=network))
