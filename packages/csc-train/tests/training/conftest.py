"""Settings of runs of a second, in folders of their own."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from csc_data.loader import ArrayInfo
from csc_models.checkpoint import load_checkpoint
from csc_models.checkpoint.reading import read_checkpoint
from csc_train import TrainSettings


@pytest.fixture
def settings(data_folder, tmp_path):
    """Settings of a run of a second."""
    return TrainSettings(
        classes=("mito", "ld"),
        datasplit_path=data_folder.config.path("datasplit"),
        input_array_info=ArrayInfo(shape=(16, 16, 16), scale=(8, 8, 8)),
        model_name="small",
        architecture="3d_unet_s",
        model_kwargs={"width": 2, "depth": 2},
        epochs=4,
        iterations_per_epoch=3,
        batch_size=2,
        learning_rate=1e-2,
        optimizer="adamw",  # learns within 45 steps
        validation_batch_limit=2,
        model_save_path=str(tmp_path / "checkpoints" / "{model_name}_{epoch}.pth"),
        logs_save_path=str(tmp_path / "tensorboard" / "{model_name}"),
        device="cpu",
    )


@pytest.fixture
def in_folder(settings, tmp_path):
    """Return a function that gives the same settings, or changed ones, with checkpoints of their own."""

    def change(name, **changes):
        return dataclasses.replace(
            settings,
            model_save_path=str(tmp_path / name / "{model_name}_{epoch}.pth"),
            logs_save_path=str(tmp_path / name / "logs"),
            **changes,
        )

    return change


@pytest.fixture
def weights():
    """Return a function that gives the weights of a checkpoint."""
    return lambda path: load_checkpoint(path).model.state_dict()


@pytest.fixture
def assert_same_end():
    """Return a function that asserts that two runs have ended in the same state, bit for bit."""

    def check(one, other):
        names = [settings.model_save_path.format(model_name="small", epoch="resume") for settings in (one, other)]
        a, b = map(read_checkpoint, names)
        equal(a.state, b.state)
        a, b = a.extra["training"], b.extra["training"]
        for state in (a, b):
            state["settings"] = None  # which name the folders
        equal(a, b)

    return check


def equal(one, other, where="state"):
    """Assert that nested mappings and lists of tensors and numbers are the same."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            equal(*pair, f"{where}/{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where
