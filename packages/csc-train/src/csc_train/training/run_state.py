"""Everything that changes while a run trains, and how it is saved and resumed."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_models.checkpoint import CheckpointDescription, load_checkpoint, load_weights, save_checkpoint
from csc_models.pretrained import load_pretrained, pretrained_card
from csc_train.checkpoints import TRAINING, checkpoint_path, find_checkpoint, list_checkpoints
from csc_train.network import WeightAverage, describe_network
from csc_train.randomness import random_state, restore_random_state
from csc_train.settings import TrainSettings
from csc_train.training.optimisation import StepSizes
from csc_train.training.results import EpochRecord

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RunState:
    """A run between two epochs.

    Attributes
    ----------
    network : torch.nn.Module
        The network itself, not wrapped.
    optimizer, step_sizes, average
        What else a step changes; ``average`` is None without EMA.
    epoch : int
        Epochs done.
    best_epoch : int or None
    best_score : float
        Larger is better.
    validation_batches : int or None
        How many batches a time limit allowed; None as long as nothing limits them.
    history : list
        Epoch, training loss, validation loss, IoU and Dice of each epoch so far.
    """

    network: nn.Module
    optimizer: Optimizer
    step_sizes: StepSizes
    average: WeightAverage | None
    epoch: int = 0
    best_epoch: int | None = None
    best_score: float = -math.inf
    validation_batches: int | None = None
    history: list[list[float]] = field(default_factory=list)

    def finish_epoch(self, record: EpochRecord, score: float) -> None:
        """Note an epoch that is done; ``score`` is larger for better ones."""
        self.epoch = record.epoch
        if self.best_epoch is None or score > self.best_score:
            self.best_epoch, self.best_score = record.epoch, score if score == score else -math.inf
        scores = record.validation
        self.history.append(
            [record.epoch, record.loss, *([scores.loss, scores.iou, scores.dice] if scores else [math.nan] * 3)]
        )

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved."""
        return self.average.module if self.average else self.network

    def save(self, settings: TrainSettings, fabric: Fabric) -> Path:
        """Write the checkpoint of the epoch that is done; it gets its name when it is complete."""
        training: dict[str, Any] = {
            "epoch": self.epoch,
            "best": {"epoch": self.best_epoch, "score": self.best_score},
            "validation_batches": self.validation_batches,
            "history": self.history,
            "optimizer": self.optimizer.state_dict(),
            "step_sizes": self.step_sizes.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "random": random_state(),
            "world_size": fabric.world_size,
        }
        if self.average:
            training["weights"] = self.network.state_dict()
            training["average_steps"] = self.average.steps
        path = checkpoint_path(settings.model_save_path, settings.model_name, self.epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, self.evaluated, description=describe_network(settings), extra={TRAINING: training})
        return path

    def restore(self, path: Path, settings: TrainSettings, fabric: Fabric) -> None:
        """Resume exactly where a checkpoint of this run was written.

        Raises
        ------
        InvalidArgumentError
            If the run was started with other classes, arrays or raw range, or the file holds no training state.
        csc_models.CheckpointError
            If the file is damaged or does not fit the network.
        """
        loaded = load_checkpoint(path, model=self.evaluated)
        check_same_data(path, loaded.description, describe_network(settings))
        training = loaded.extra.get(TRAINING)
        if not training:
            raise InvalidArgumentError(f"{path} holds weights only; use load_model = {str(path)!r} to begin with them")
        if self.average:
            load_weights(self.network, training.get("weights") or loaded.model.state_dict(), source=str(path))
            self.average.steps = training.get("average_steps", 0)
        try:
            self.optimizer.load_state_dict(training["optimizer"])
        except ValueError as error:
            raise InvalidArgumentError(f"{path} was trained with another optimizer: {error}") from error
        self.step_sizes.load_state_dict(training["step_sizes"])
        fabric.strategy.precision.load_state_dict(training["precision"])
        self.epoch = training["epoch"]
        self.best_epoch, self.best_score = training["best"]["epoch"], training["best"]["score"]
        self.validation_batches = training["validation_batches"]
        self.history = [list(row) for row in training["history"]]
        # A checkpoint holds the state of its first process only: several processes would all draw the same.
        if fabric.world_size == 1 == training["world_size"]:
            restore_random_state(training["random"])


def check_same_data(path: Path, stored: CheckpointDescription, wanted: CheckpointDescription) -> None:
    """Check that a checkpoint was trained on the same classes and patches.

    Raises
    ------
    InvalidArgumentError
        With everything that differs.
    """
    names = {"classes": "classes", "input_arrays": "input_array_info", "target_arrays": "target_array_info"}
    names["raw_range"] = "raw_range"
    stored, wanted = (CheckpointDescription.from_plain(entry.to_plain()) for entry in (stored, wanted))
    different = [
        f"{name} was {_words(getattr(stored, entry))}, is {_words(getattr(wanted, entry))}"
        for entry, name in names.items()
        if getattr(stored, entry) != getattr(wanted, entry)
    ]
    if different:
        raise InvalidArgumentError(
            f"{path} belongs to another experiment: {'; '.join(different)}; choose another model_name to start anew"
        )


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, Sequence) and all(isinstance(v, str) for v in value) else str(value)


def take_up(state: RunState, settings: TrainSettings, fabric: Fabric) -> Path | None:
    """Load what a run begins with, and return the checkpoint that it resumes from, if any.

    Raises
    ------
    ExistingOutputError
        If a fresh run was asked for and there are checkpoints of its name.
    NoCheckpointError
        If another run's weights were asked for and there are none.
    """
    template, name, wanted = settings.model_save_path, settings.model_name, settings.load_model
    own = list_checkpoints(template, name)
    if wanted == "fresh":
        if own:
            raise ExistingOutputError(
                f"there are {len(own)} checkpoints of {name} ({own[max(own)]} is the latest); "
                "choose another model_name, remove them, or set load_model to 'latest' to go on"
            )
        wanted = "latest"
    if isinstance(wanted, Path):
        if wanted.resolve() not in {path.resolve() for path in own.values()}:
            begin_with(state, wanted)
            return None
        path = wanted
    elif own:
        path = find_checkpoint(template, name, wanted)
    elif settings.model_to_load and settings.model_to_load != name:
        begin_with(state, find_checkpoint(template, settings.model_to_load, wanted))
        return None
    elif settings.pretrained:
        begin_with_published(state, settings)
        return None
    else:
        return None
    state.restore(path, settings, fabric)
    _set_aside([later for epoch, later in own.items() if epoch > state.epoch], fabric)
    logger.info("going on from %s, epoch %d", path, state.epoch)
    return path


def begin_with(state: RunState, path: Path) -> None:
    """Load the weights of a file, and nothing else of it."""
    load_checkpoint(path, model=state.network)
    if state.average:
        state.average.module.load_state_dict(state.network.state_dict())
    logger.info("beginning with the weights of %s", path)


def begin_with_published(state: RunState, settings: TrainSettings) -> None:
    """Load published weights; the head stays as it is unless the classes are those of the weights, in their order.

    Raises
    ------
    csc_models.ModelError
        If they cannot be fetched, or are not for this network.
    """
    assert settings.pretrained is not None
    card = pretrained_card(settings.pretrained)
    relu = bool(getattr(state.network, "upsampling_relu", True))
    weights = load_pretrained(card.name, upsampling_relu=relu).state_dict()
    own = state.network.state_dict()
    if settings.classes != card.classes:
        weights.update({key: value for key, value in own.items() if key.startswith("prediction_head.")})
    load_weights(state.network, weights, source=card.name)
    if state.average:
        state.average.module.load_state_dict(state.network.state_dict())
    kept = "" if settings.classes == card.classes else ", with a new head"
    logger.info("beginning with %s%s", card.name, kept)


def _set_aside(later: Sequence[Path], fabric: Fabric) -> None:
    """Rename the checkpoints of epochs after that which a run resumes from, so that none counts as the latest."""
    if fabric.is_global_zero:
        for path in later:
            path.replace(path.with_name(f"{path.name}.left_behind"))
            logger.warning("%s is of a later epoch; renamed to %s.left_behind", path, path.name)
    fabric.barrier()


def best_of(settings: TrainSettings, record: EpochRecord) -> float:
    """Return the score that decides which epoch is best; larger is better. Without validation the loss decides."""
    if record.validation is None:
        return -record.loss
    value: float = getattr(record.validation, settings.best_metric)
    return -value if settings.best_metric == "loss" else value


def as_metric(settings: TrainSettings, score: float, validated: bool) -> float:
    """Turn a score back into the metric that people know."""
    return -score if settings.best_metric == "loss" or not validated else score
