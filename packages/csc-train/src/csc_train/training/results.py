"""What training reports: while it runs, and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationScores:
    """Scores over the known voxels of the validation crops.

    Attributes
    ----------
    loss : float
    values : mapping
        Every metric by name: ``iou`` and ``dice`` (at a threshold of 0.5, means over the classes that are known and
        either present or predicted; NaN without such classes), ``iou/mito`` and so on for each class. ``challenge``,
        ``challenge/semantic``, ``challenge/instance`` and ``challenge/mito``: the challenge's own score of the crops
        that were validated as a whole, see `csc_train.training.hooks.challenge.ChallengeScore`; NaN in epochs without.

    Examples
    --------
    >>> scores = ValidationScores(loss=0.5, values={"iou": 0.6, "iou/er": 0.7, "iou/nuc": 0.5})
    >>> scores.of_classes("iou"), scores.iou
    ({'er': 0.7, 'nuc': 0.5}, 0.6)
    """

    loss: float
    values: Mapping[str, float]

    @property
    def iou(self) -> float:
        """Mean IoU; NaN where the experiment has no such metric."""
        return self.values.get("iou", math.nan)

    @property
    def dice(self) -> float:
        """Mean Dice; NaN where the experiment has no such metric."""
        return self.values.get("dice", math.nan)

    def of_classes(self, metric: str) -> dict[str, float]:
        """Return a metric of each class by its name."""
        start = f"{metric}/"
        return {name.removeprefix(start): value for name, value in self.values.items() if name.startswith(start)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of the optimizer.

    Attributes
    ----------
    epoch : int
        From 1.
    iteration : int
        Batches of the epoch so far.
    step : int
        Batches of all epochs so far.
    loss : float
        Mean over the known voxels of its batches.
    learning_rate : float
        With which it was taken.
    gradient_norm : float or None
        Before clipping; None where nothing is clipped.
    samples : int
        In all processes.
    seconds, waited : float
        Time it took, and what batches were waited for since the last step.
    """

    epoch: int
    iteration: int
    step: int
    loss: float
    learning_rate: float
    gradient_norm: float | None
    samples: int
    seconds: float
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    loss : float
        Mean training loss over all known voxels.
    learning_rate : float
        At its end.
    validation : ValidationScores or None
        None without validation crops.
    seconds, loading_seconds : float
        Time it took, and how much of it the network waited for data.
    """

    epoch: int
    loss: float
    learning_rate: float
    validation: ValidationScores | None
    seconds: float
    loading_seconds: float


TrainStage = Literal["train", "validate", "epoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """Where training is: after each batch of training and validation, and at the end of each epoch."""

    stage: TrainStage
    epoch: int
    epochs: int
    iteration: int
    iterations: int
    loss: float
    record: EpochRecord | None = None


TrainCallback = Callable[[TrainProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training run did.

    Attributes
    ----------
    model_name : str
    checkpoints : tuple of Path
        Those of this run's epochs that were kept.
    best_checkpoint, latest_checkpoint : Path or None
        Of all runs of this name.
    best_epoch : int or None
    best_value : float or None
        Its value of the metric that decides (``best_metric``).
    records : tuple of EpochRecord
        The epochs of this run.
    resumed_from : Path or None
        The checkpoint that this run went on from.
    seconds : float
    stopped : str or None
        Why it ended before its last epoch; None if it did not.
    """

    model_name: str = ""
    checkpoints: tuple[Path, ...] = ()
    best_checkpoint: Path | None = None
    latest_checkpoint: Path | None = None
    best_epoch: int | None = None
    best_value: float | None = None
    records: tuple[EpochRecord, ...] = field(default=())
    resumed_from: Path | None = None
    seconds: float = 0.0
    stopped: str | None = None
