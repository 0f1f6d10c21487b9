"""A run whose hooks are called as the loop calls them, without a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from csc_data.challenge.classes import label_classes
from csc_train.training.results import EpochRecord, StepRecord, TrainProgress, ValidationScores
from csc_train.training.run import Run


@dataclass
class FakeRun:
    """Epochs of ``count`` steps; saves nothing, but goes on from any step."""

    settings: object
    hooks: list
    count: int = 4
    resumed_from: Path | None = None
    speaks: bool = True
    stopping: str | None = None
    scores: dict[int, float] = field(default_factory=dict)

    def __post_init__(self):
        self.state = SimpleNamespace(epoch=0, iteration=0, batches=0, best_epoch=None, best_score=-math.inf, history=[])
        crops = (SimpleNamespace(name="jrc_a/crop1", labels={"mito": (), "er": ()}),)
        loader = type("Loader", (), {"__len__": lambda _: self.count})()
        loader.patches = SimpleNamespace(reader=SimpleNamespace(crops=crops))
        self.loaders = SimpleNamespace(train=loader, validation=loader)
        self.fabric = SimpleNamespace(device=torch.device("cpu"), world_size=1)

    how_to_go_on = Run.how_to_go_on

    def stop(self, reason):
        self.stopping = self.stopping or reason

    def goes_on_from(self, epoch, iteration=0):
        self.resumed_from = Path("resume.pth")
        self.state.epoch, self.state.iteration = epoch, iteration
        self.state.batches = epoch * self.count + iteration
        return self

    def start(self):
        for hook in self.hooks:
            hook.on_start(self)
        return self

    def step(self, loss=0.5):
        state = self.state
        state.iteration += 1
        state.batches += 1
        record = StepRecord(
            epoch=state.epoch + 1,
            iteration=state.iteration,
            step=state.batches,
            loss=loss,
            learning_rate=1e-3,
            gradient_norm=2.0,
            samples=2,
            seconds=0.3,
            waited=0.1,
        )
        self.progress("train", state.iteration, loss)
        for hook in self.hooks:
            hook.on_step(self, record)

    def validate(self, **values):
        state = self.state
        score = values.get("iou", self.scores.get(state.epoch + 1, 0.5))
        scores = ValidationScores(
            loss=0.7, values={"iou": score, "dice": 0.6, "iou/mito": score, "iou/er": math.nan, **values}
        )
        record = EpochRecord(
            epoch=state.epoch + 1, loss=0.4, learning_rate=1e-3, validation=scores, seconds=2.0, loading_seconds=0.5
        )
        state.epoch, state.iteration = record.epoch, 0
        if score > state.best_score:
            state.best_epoch, state.best_score = record.epoch, score
        for hook in self.hooks:
            hook.on_epoch(self, record)
        self.progress("epoch", self.count, record.loss, record)

    def epoch(self, **values):
        while self.state.iteration < self.count:
            self.step()
        self.validate(**values)

    def end(self, how="done"):
        for hook in self.hooks:
            hook.on_end(self, how)

    def progress(self, stage, iteration, loss, record=None):
        told = TrainProgress(
            stage=stage,
            epoch=self.state.epoch + (record is None),
            epochs=self.settings.epochs,
            iteration=iteration,
            iterations=self.count,
            loss=loss,
            record=record,
        )
        for hook in self.hooks:
            hook.on_progress(self, told)


@pytest.fixture
def begin(tmp_path):
    """Return a function that begins a run with hooks; all runs share a folder of logs, ``tmp_path / "logs"``."""

    runs = []

    def begin_run(*hooks, epochs=10, **settings):
        values = {"epochs": epochs, "model_name": "small", "best_metric": "iou", "lower_is_better": False}
        values |= {"logs_save_path": str(tmp_path / "logs"), "class_table": label_classes(), **settings}
        run = FakeRun(make_dataclass("Settings", values)(**values), list(hooks))
        runs.append(run)
        return run

    yield begin_run
    for run in runs:  # those that stand for killed ones have files open
        run.end("error")
