"""FSDP: a divided network trains, is saved and goes on like a whole one, and its files are the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from csc_data.errors import ProblemsError
from csc_models.checkpoint.reading import read_checkpoint
from csc_train import TrainSettings, predict, train


@pytest.fixture(autouse=True)
def _no_group_left():
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def test_a_divided_network_trains_like_a_whole_one(in_folder, data_folder):
    """With one process, which holds all parts: what several hold is brought together by the same calls."""
    choices = {"max_grad_norm": 0.5, "gradient_accumulation_steps": 2, "epochs": 2, "iterations_per_epoch": 4}
    whole, parts = in_folder("whole", **choices), in_folder("parts", strategy="fsdp", **choices)
    expected = train(whole)
    first = train(parts, epochs=1, checkpoint_minutes=1e-9)
    second = train(parts)
    assert second.resumed_from.name == "small_resume.pth"
    for one, other in zip(expected.records, [*first.records, *second.records], strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.validation.loss == pytest.approx(other.validation.loss, rel=1e-5)
    paths = [each.model_save_path.format(model_name="small", epoch="resume") for each in (whole, parts)]
    files = [read_checkpoint(path) for path in paths]
    torch.testing.assert_close(files[0].state, files[1].state)
    one, other = (file.extra["training"]["optimizer"] for file in files)
    assert one["param_groups"] == other["param_groups"]
    torch.testing.assert_close(one["state"], other["state"])
    # A run may go on without, and its weights predict.
    third = train(dataclasses.replace(parts, strategy="auto"), epochs=3)
    assert third.resumed_from is not None
    predicted = predict(third.latest_checkpoint, crops=["validation"], config=data_folder.config, device="cpu")
    assert predicted.crops


def test_an_average_of_the_weights_does_not_go_with_it():
    with pytest.raises(ProblemsError, match="'fsdp' does not go with ema"):
        TrainSettings(classes=["mito"], strategy="fsdp", ema=0.9)
