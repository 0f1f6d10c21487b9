"""The best epoch is found in logs as the challenge's toolbox writes them, however a run was resumed and validated."""

import random

import pytest
import torch
from torch import nn

from csc_models import CheckpointError
from csc_models.checkpoint import best_checkpoint, load_best_val

event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2", reason="needs csc-models[tensorboard]")
record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")

LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 24)


class Run:
    """Writes what ``train.py`` of the challenge's toolbox writes; see its loop over epochs."""

    def __init__(self, folder, rng, *, figures, template="unet_{epoch}.pth"):
        self.logs, self.rng, self.figures = folder / "tensorboard", rng, figures
        self.logs.mkdir(parents=True)
        self.template = folder / template
        self.processes, self.scores, self.latest = 0, {}, 0

    def train(self, epochs, length, every, *, resumed=None, killed_after=None):
        """Let a process go on for so many epochs of so many iterations, and validate after each so many epochs."""
        self.processes += 1
        done = self.latest if resumed is None else resumed
        step = done * length
        with (self.logs / f"events.out.tfevents.{1_700_000_000 + self.processes}.host").open("wb") as stream:
            self.stream = record_writer.RecordWriter(stream)
            self._write(0)
            for epoch in range(done + 1, done + epochs + 1):
                for iteration in range(length):
                    if killed_after == (epoch - done - 1, iteration):
                        return
                    step += 1
                    self._write(step, "loss", simple_value=self.rng.random())
                (self.template.parent / self.template.name.format(epoch=epoch)).touch()
                self.latest = max(self.latest, epoch) if resumed is not None else epoch
                if epoch % every == 0:
                    self.scores[epoch] = self.rng.random()
                    self._write(step, "validation", simple_value=self.scores[epoch])
                if self.figures:
                    self._write(step, "nuc", image={"height": 1, "width": 1, "encoded_image_string": b"png"})

    def _write(self, step, tag=None, **value):
        event = event_pb2.Event(wall_time=1.7e9 + self.processes, step=step)
        if tag is not None:
            event.summary.value.add(tag=tag, **value)
        self.stream.write(event.SerializeToString())

    def best(self, **options):
        return int(best_checkpoint(self.logs, self.template, **options).stem.split("_")[1])


def random_run(folder, rng):
    """A run of one to four processes, each with iterations per epoch of its own; some are killed within an epoch."""
    run = Run(folder, rng, figures=rng.random() < 0.3)
    every = rng.randint(1, 5)
    for _ in range(rng.randint(1, 4)):
        epochs, length = rng.randint(1, 9), rng.choice(LENGTHS)
        killed = (rng.randrange(epochs), rng.randrange(length)) if rng.random() < 0.4 else None
        run.train(epochs, length, every, killed_after=killed)
    return run


def test_the_best_of_200_runs(tmp_path):
    rng, wrong, tried = random.Random(16), [], 0
    while tried < 200:
        run = random_run(tmp_path / str(tried) / str(rng.random()), rng)
        if not run.scores:
            continue  # none was validated; told as an error, see below
        tried += 1
        expected = min(run.scores, key=run.scores.get)
        try:
            found = run.best()
        except CheckpointError as error:
            found = str(error)
        if found != expected:
            wrong.append((tried, expected, found))
    assert wrong == []


def test_a_run_that_was_resumed_from_its_best_epoch(tmp_path):
    run = Run(tmp_path, random.Random(1), figures=True)
    run.train(10, 20, every=2)
    run.train(3, 10, every=1, resumed=4)
    run.scores = {**run.scores}
    assert run.best() == min(run.scores, key=run.scores.get)
    assert run.best(low_is_best=False) == max(run.scores, key=run.scores.get)


def test_a_process_that_was_killed_while_it_validated(tmp_path):
    run = Run(tmp_path, random.Random(2), figures=False)
    run.train(5, 12, every=1)
    (tmp_path / "unet_6.pth").touch()
    assert run.best() == min(run.scores, key=run.scores.get)


def test_files_that_were_removed(tmp_path):
    run = Run(tmp_path, random.Random(3), figures=False)
    run.train(9, 12, every=1)
    best = min(run.scores, key=run.scores.get)
    for epoch in set(range(1, 10)) - {best}:
        (tmp_path / f"unet_{epoch}.pth").unlink()
    assert run.best() == best


def test_logs_of_another_run_are_refused(tmp_path):
    run = Run(tmp_path, random.Random(4), figures=True)
    run.train(3, 7, every=1)
    (tmp_path / "unet_50.pth").touch()
    with pytest.raises(CheckpointError, match=r"do not tell which of the checkpoints, of up to epoch 50, was the best"):
        run.best()


def test_the_best_is_loaded(tmp_path):
    run = Run(tmp_path, random.Random(5), figures=False)
    run.train(6, 4, every=2)
    for epoch in range(1, 7):
        torch.save({"weight": torch.full((1, 1), float(epoch))}, tmp_path / f"unet_{epoch}.pth")
    model = nn.Linear(1, 1, bias=False)
    load_best_val(run.logs, run.template, model)
    assert model.weight.item() == min(run.scores, key=run.scores.get)
