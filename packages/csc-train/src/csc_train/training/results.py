"""What training reports: while it runs, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationScores:
    """Scores over the known voxels of the validation crops, at a threshold of 0.5.

    Attributes
    ----------
    loss : float
    iou, dice : float
        Means over the classes that are known and either present or predicted; NaN without such classes.
    class_iou : mapping
        Class name to IoU; NaN where it is not defined.
    """

    loss: float
    iou: float
    dice: float
    class_iou: Mapping[str, float]


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
        Those that this run wrote.
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
