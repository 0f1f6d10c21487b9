"""What is shown while a network trains: a bar on a terminal, and a line for each epoch."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from csc_data.wording import format_seconds
from csc_train.training.results import EpochRecord, StepRecord, TrainProgress, ValidationScores
from csc_train.training.run import End, Hook, Run
from csc_train.training.run_state import as_metric

_SMOOTHING = 0.05
"""How much the newest step counts in what the bar says of the loss, the rate and the waiting."""


class ProgressBar(Hook):
    """Shows loss, samples per second, the share of waiting for data, the best score and the time left.

    Elsewhere than on a terminal, such as in a job's log, there is a line for each epoch and no bar. Of several
    processes one speaks.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._pace = _Pace()

    def on_start(self, run: Run) -> None:
        """Show the bar."""
        self._pace.start(run)
        if run.speaks and sys.stdout.isatty():
            self._bar = _make_bar()
            self._task = self._bar.add_task("", total=None, words="")
            self._bar.start()

    def on_step(self, run: Run, step: StepRecord) -> None:
        """Take in a step."""
        self._pace.add(step)

    def on_progress(self, run: Run, progress: TrainProgress) -> None:
        """Move the bar; write the line of an epoch that is done."""
        if not run.speaks:
            return
        if progress.record is not None:
            say(describe_epoch(run, progress.record, self._pace))
        elif self._bar is not None:
            name = "epoch" if progress.stage == "train" else "validating epoch"
            self._bar.update(
                self._task,
                description=f"{name} {progress.epoch}/{progress.epochs}",
                completed=progress.iteration,
                total=progress.iterations,
                words=", ".join(self._pace.words(run)),
            )

    def on_end(self, run: Run, end: End) -> None:
        """Take the bar away; say why a run ended early."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if run.speaks and end == "stopped":
            say(f"  ended after epoch {run.state.epoch}: {run.stopping}")
        elif run.speaks and end == "signal" and run.stopping != "signal SIGINT":  # `train` tells of that
            say(f"  {run.how_to_go_on()}")


class _Pace:
    """How fast a run is."""

    def __init__(self) -> None:
        self.loss: float | None = None
        self._samples = self._seconds = self._waited = 0.0
        self._started = 0.0
        self._first = 0

    def start(self, run: Run) -> None:
        self._started, self._first = time.perf_counter(), _position(run)

    def add(self, step: StepRecord) -> None:
        share = 1.0 if self.loss is None else _SMOOTHING
        self.loss = step.loss if self.loss is None else self.loss + share * (step.loss - self.loss)
        seconds = step.seconds + step.waited
        self._samples += share * (step.samples - self._samples)
        self._seconds += share * (seconds - self._seconds)
        self._waited += share * (step.waited - self._waited)

    def words(self, run: Run) -> list[str]:
        """Say what the bar says."""
        words = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        return [*words, *self.speed(), *best(run), *self.left(run)]

    def speed(self) -> list[str]:
        """Say how many samples there are in a second, and which share of the time data is waited for."""
        if not self._seconds:
            return []
        return [
            f"{self._samples / self._seconds:.3g} samples/s",
            f"{self._waited / self._seconds:.0%} waiting for data",
        ]

    def left(self, run: Run) -> list[str]:
        """Say how long the rest takes, at the pace of all that this process has done, validation included."""
        position = _position(run)
        done, rest = position - self._first, run.settings.epochs * len(run.loaders.train) - position
        if done <= 0 or rest <= 0:
            return []
        return [f"{format_seconds((time.perf_counter() - self._started) / done * rest)} left"]


def _position(run: Run) -> int:
    return run.state.epoch * len(run.loaders.train) + run.state.iteration


def best(run: Run) -> list[str]:
    """Say which epoch was best."""
    state, settings = run.state, run.settings
    if state.best_epoch is None or math.isinf(state.best_score):
        return []
    name = settings.best_metric if run.loaders.validation is not None else "loss"
    value = as_metric(settings, state.best_score, run.loaders.validation is not None)
    return [f"best {name} {value:.3f} (epoch {state.best_epoch})"]


def describe_epoch(run: Run, record: EpochRecord, pace: _Pace) -> str:
    """Write what an epoch brought."""
    words = [f"loss {record.loss:.4f}"]
    if record.validation is not None:
        words.append(f"validation loss {record.validation.loss:.4f}")
        words += [
            f"mean {label} {value:.3f}"
            for label, value in (("IoU", record.validation.iou), ("Dice", record.validation.dice))
            if value == value
        ]
        words += challenge(record.validation)
    words += [*best(run), *pace.speed(), *pace.left(run)]
    return f"  epoch {record.epoch}/{run.settings.epochs}: {', '.join(words)} ({record.seconds:.1f} s)"


def challenge(scores: ValidationScores) -> list[str]:
    """Say the challenge's own score, or that of the one kind of class that was scored.

    Examples
    --------
    >>> from csc_train.training.results import ValidationScores
    >>> challenge(ValidationScores(loss=0.5, values={"challenge/semantic": 0.7}))
    ['challenge/semantic 0.700']
    """
    found = {name: scores.values.get(name, math.nan) for name in ("challenge", "challenge/semantic")}
    return [f"{name} {value:.3f}" for name, value in found.items() if value == value][:1]


def say(text: str) -> None:
    """Print a line, above the bar if there is one.

    Examples
    --------
    >>> say("epoch 1")
    epoch 1
    """
    print(text, flush=True)  # noqa: T201  # `python train_2D.py` shows what `csc train` does


def _make_bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
    )
    return Progress(*columns, transient=True)
