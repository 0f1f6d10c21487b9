"""A run that was stopped ends as one that was not, bit for bit; what changed in between is told."""

from __future__ import annotations

import dataclasses
import logging
import random
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_data.loader.batches import PatchLoader
from csc_models import CheckpointReadError
from csc_train import NoCheckpointError, train
from csc_train.checkpoints import read_training_state
from csc_train.logs.event_files import EventWriter, scalar
from csc_train.network import build_network


class Stop(Exception):
    """Stands for what ends a process without a word: nothing is saved after it."""


VARIANTS = {
    "plain": {},
    "sgd": {"optimizer": "sgd", "max_grad_norm": 1.0},
    "ema, accumulation": {"ema": 0.9, "gradient_accumulation_steps": 2, "warmup_iterations": 4},
    "torch scheduler": {"scheduler": torch.optim.lr_scheduler.StepLR, "scheduler_kwargs": {"step_size": 1}},
    "dropout": {"model_kwargs": {}, "architecture": None},
}


class WithDropout(nn.Module):
    """Draws from the global generator in every step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Dropout(0.5))
        self.head = nn.Conv3d(4, 2, 1)

    def forward(self, x):
        return self.head(torch.relu(self.layers(x)))


@pytest.mark.parametrize("name", VARIANTS)
def test_two_and_two_epochs_are_four_bit_for_bit(in_folder, assert_same_end, name):
    def network():
        return WithDropout() if name == "dropout" else None

    whole = in_folder("whole", model=network(), **VARIANTS[name])
    parts = in_folder("parts", **VARIANTS[name])
    expected = train(whole)
    train(dataclasses.replace(parts, model=network()), epochs=2)
    torch.rand(7)  # what happens between the runs must not matter
    second = train(dataclasses.replace(parts, model=network()))
    assert second.resumed_from.name == "small_resume.pth"
    assert [record.epoch for record in second.records] == [3, 4]
    for one, other in zip(expected.records[2:], second.records, strict=True):
        assert (one.loss, one.learning_rate, one.validation) == (other.loss, other.learning_rate, other.validation)
    assert_same_end(whole, parts)


@pytest.mark.parametrize("how", ["signal", "kill"])
def test_runs_that_end_at_any_iteration_end_as_one_that_did_not(in_folder, assert_same_end, how):
    """SIGTERM loses nothing; what ends a process at once loses what followed its last checkpoint."""
    choices = {"scheduler": "cosine", "gradient_accumulation_steps": 2, "iterations_per_epoch": 5, "epochs": 3}
    whole, parts = in_folder("whole", **choices), in_folder("parts", **choices)
    train(whole)
    rng = random.Random(how)
    places = [(epoch, stage, n) for epoch in (1, 2, 3) for stage, most in (("train", 5), ("validate", 2))
              for n in range(1, most + 1)]  # fmt: skip
    ends = sorted(rng.sample(places, 10), key=lambda place: (place[0], place[1] == "validate", place[2]))
    seen = []
    for end in ends:

        def progress(event, end=end):
            seen.append((event.epoch, event.stage, event.iteration))
            if seen[-1] == end:
                if how == "kill":
                    raise Stop
                signal.raise_signal(signal.SIGTERM)

        try:
            result = train(parts, progress=progress, checkpoint_minutes=1e-9 if end[2] % 2 else 10)
        except Stop:
            continue
        if seen[-1][0] == end[0] and result.stopped:
            assert result.stopped == "signal SIGTERM"
    last = train(parts, progress=lambda event: seen.append((event.epoch, event.stage, event.iteration)))
    assert last.stopped is None
    assert_same_end(whole, parts)
    if how == "signal":  # no batch was trained on twice
        trained = [place for place in seen if place[1] == "train"]
        assert len(trained) == len(set(trained))


def test_workers_that_the_signal_ended_too_leave_no_half_step(in_folder, assert_same_end, monkeypatch):
    choices = {"gradient_accumulation_steps": 2, "iterations_per_epoch": 5, "epochs": 2}
    whole, parts = in_folder("whole", **choices), in_folder("parts", **choices)
    train(whole)

    def ending(loader, batches=PatchLoader.__iter__):
        for number, batch in enumerate(batches(loader), start=1):
            yield batch
            if number == 3:
                signal.raise_signal(signal.SIGTERM)
                raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(PatchLoader, "__iter__", ending)
        assert train(parts).stopped == "signal SIGTERM"
    assert read_training_state(Path(parts.model_save_path.format(model_name="small", epoch="resume")))["iteration"] == 2
    train(parts)
    assert_same_end(whole, parts)


def test_an_interrupt_is_saved_and_raised(settings, caplog):
    before = signal.getsignal(signal.SIGINT)

    def interrupt(event):
        if (event.stage, event.epoch, event.iteration) == ("train", 2, 2):
            signal.raise_signal(signal.SIGINT)

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        train(settings, progress=interrupt)
    assert "stopped in epoch 2, batch 2 of 3" in caplog.text
    assert "the same command goes on" in caplog.text
    events = []
    train(settings, epochs=2, progress=events.append)
    assert next((e.stage, e.epoch, e.iteration) for e in events) == ("train", 2, 3)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_is_done_does_nothing(settings):
    first = train(settings, epochs=2)
    again = train(settings, epochs=2)
    assert (again.records, again.checkpoints) == ((), ())
    assert (again.best_epoch, again.latest_checkpoint) == (first.best_epoch, first.latest_checkpoint)


def test_what_changed_is_told_and_a_learning_rate_counts(settings, caplog):
    train(settings, epochs=1)
    with caplog.at_level(logging.WARNING):
        result = train(settings, epochs=2, learning_rate=2e-3, batch_size=1)
    assert "learning_rate was 0.01, is 0.002" in caplog.text
    assert "batch_size was 2, is 1" in caplog.text
    assert result.records[-1].learning_rate == pytest.approx(2e-3)
    caplog.clear()
    train(settings, epochs=3, learning_rate=2e-3, batch_size=1)
    assert "other settings" not in caplog.text


def test_a_learning_rate_changes_along_its_schedule(in_folder):
    plain = train(in_folder("plain", scheduler="cosine", epochs=3))
    train(in_folder("other", scheduler="cosine", epochs=3), progress=_ending_after(1))
    other = train(in_folder("other", scheduler="cosine", epochs=3, learning_rate=2e-2))
    assert other.records[-2].learning_rate == pytest.approx(2 * plain.records[-2].learning_rate)


def _ending_after(epoch):
    def progress(event):
        if event.stage == "epoch" and event.epoch == epoch:
            signal.raise_signal(signal.SIGTERM)

    return progress


def test_what_cannot_go_on_is_told(settings):
    train(settings, epochs=1)
    with pytest.raises(InvalidArgumentError, match=r"optimizer adamw, and cannot go on with sgd.*model_to_load"):
        train(settings, optimizer="sgd")
    with pytest.raises(InvalidArgumentError, match="classes was mito, ld, is ld, mito"):
        train(settings, classes=("ld", "mito"))


def test_starting_points(settings, weights):
    first = train(settings, epochs=1)
    with pytest.raises(ExistingOutputError, match="small"):
        train(settings, load_model="fresh")
    other = dataclasses.replace(settings, model_name="other", model_to_load="small", learning_rate=1e-12, epochs=1)
    moved = train(other)
    assert moved.resumed_from is None
    for key, value in weights(moved.latest_checkpoint).items():
        torch.testing.assert_close(value, weights(first.latest_checkpoint)[key], atol=1e-6, rtol=0)
    with pytest.raises(NoCheckpointError, match="nobody"):
        train(settings, model_name="third", model_to_load="nobody")
    resume = first.latest_checkpoint.with_name("small_resume.pth")
    resume.write_bytes(resume.read_bytes()[:1000])
    with pytest.raises(CheckpointReadError, match="truncated"):
        train(settings)


def test_going_on_from_the_best_leaves_later_epochs_behind(settings, caplog):
    standing = dataclasses.replace(settings, learning_rate=1e-30)  # so that the first epoch stays the best
    result = train(standing, epochs=3)
    best = read_training_state(result.latest_checkpoint)["best"]["epoch"]
    assert best == 1
    again = train(standing, load_model="best", epochs=best)
    assert again.resumed_from == result.best_checkpoint
    assert again.latest_checkpoint == result.best_checkpoint
    assert "the optimizer starts anew" in caplog.text


@pytest.mark.parametrize("which", ["best", "latest"])
def test_a_run_of_the_official_toolbox_goes_on(settings, weights, caplog, which):
    """Its checkpoints are bare weights, and its TensorBoard logs say which is best: here that of epoch 2 of 3."""
    folder = Path(settings.model_save_path.format(model_name="small", epoch=1)).parent
    folder.mkdir(parents=True, exist_ok=True)
    per_epoch, states = settings.iterations_per_epoch, {}
    writer = EventWriter(Path(settings.logs_save_path.format(model_name="small")))
    for epoch, loss in ((1, 0.9), (2, 0.1), (3, 0.5)):
        torch.manual_seed(epoch)
        states[epoch] = build_network(settings).state_dict()
        torch.save(states[epoch], folder / f"small_{epoch}.pth")
        for step in range(per_epoch):
            writer.write((epoch - 1) * per_epoch + step + 1, [scalar("loss", 1.0)])
        writer.write(epoch * per_epoch, [scalar("validation", loss)])
    writer.close()
    start = {"best": 2, "latest": 3}[which]
    result = train(settings, load_model=which, epochs=start + 1, learning_rate=1e-12)
    assert result.resumed_from == folder / f"small_{start}.pth"
    assert [record.epoch for record in result.records] == [start + 1]
    assert f"going on from epoch {start}, the optimizer starts anew" in caplog.text
    found = weights(result.latest_checkpoint)
    key = next(key for key, value in found.items() if value.ndim > 1)
    torch.testing.assert_close(found[key], states[start][key], atol=1e-5, rtol=0)
