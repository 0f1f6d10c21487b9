"""Everything that changes while a run trains, and what of it a checkpoint holds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from csc_train.network import WeightAverage
from csc_train.objectives.losses.loss import exact_dtype
from csc_train.objectives.objective import Objective
from csc_train.randomness import random_state, restore_random_state
from csc_train.settings import TrainSettings
from csc_train.sharding import gather_optimizer, gather_weights, scatter_optimizer, scatter_weights
from csc_train.training.optimisation import StepSizes
from csc_train.training.results import EpochRecord

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(kw_only=True)
class RunState:
    """A run between two steps.

    Attributes
    ----------
    network : torch.nn.Module
        The network itself, not wrapped.
    optimizer, step_sizes, average
        What else a step changes; ``average`` is None without EMA.
    whole : torch.nn.Module or None
        Where processes hold parts of the network: a copy that `gather` fills; it is validated, saved and loaded.
    epoch : int
        Epochs done.
    iteration : int
        Batches of the epoch that is under way.
    batches : int
        Batches of all epochs, which may have had different numbers of them.
    sums, weights : Tensor or None
        Of the losses of these batches, over all processes.
    best_epoch : int or None
        None as long as no epoch had a score.
    best_score : float
        Larger is better.
    validation_batches : int or None
        How many batches a time limit allowed; None as long as nothing limits them.
    history : list
        Epoch, training loss, validation loss, IoU, Dice, score, and that averaged, of each epoch so far.
    """

    network: nn.Module
    optimizer: Optimizer
    step_sizes: StepSizes
    average: WeightAverage | None
    whole: nn.Module | None = None
    epoch: int = 0
    iteration: int = 0
    batches: int = 0
    sums: Tensor | None = None
    weights: Tensor | None = None
    best_epoch: int | None = None
    best_score: float = -math.inf
    validation_batches: int | None = None
    history: list[list[float]] = field(default_factory=list)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved."""
        return self.average.module if self.average else self.plain

    @property
    def plain(self) -> nn.Module:
        """The network that trains, or the copy of one that is divided."""
        return self.network if self.whole is None else self.whole

    def gather(self) -> None:
        """Bring together what processes hold parts of; all of them call this before the network is evaluated."""
        if self.whole is not None:
            gather_weights(self.network, self.whole)

    def scatter(self) -> None:
        """Divide what was loaded among processes."""
        if self.whole is not None:
            scatter_weights(self.network, self.whole)

    def take_in(self, batches: int, sums: Tensor, weights: Tensor) -> None:
        """Note a step that is done, over so many batches of each process."""
        self.iteration += batches
        self.batches += batches
        self.sums = sums if self.sums is None else self.sums + sums
        self.weights = weights if self.weights is None else self.weights + weights

    @property
    def knows_anything(self) -> bool:
        """Whether any voxel of the epoch so far was known."""
        return self.weights is not None and bool((self.weights > 0).any())

    def epoch_loss(self, objective: Objective) -> float:
        """Return the mean loss over all known voxels of the epoch so far; NaN where there are none."""
        if self.sums is None or self.weights is None or not self.knows_anything:
            return math.nan
        return float(objective.total(self.sums, self.weights))

    def finish_epoch(self, record: EpochRecord, score: float, window: int = 1) -> None:
        """Note an epoch that is done; ``score`` is larger for better ones, and averaged over the latest with one."""
        self.epoch, self.iteration = record.epoch, 0
        self.sums = self.weights = None
        scored = [row[5] for row in self.history if not math.isnan(row[5])]
        smooth = statistics.fmean([*scored[max(0, len(scored) - window + 1) :], score])
        # An epoch without a score, NaN, is never the best.
        if not math.isnan(smooth) and (self.best_epoch is None or smooth > self.best_score):
            self.best_epoch, self.best_score = record.epoch, smooth
        scores = record.validation
        values = [scores.loss, scores.iou, scores.dice] if scores else [math.nan] * 3
        self.history.append([record.epoch, record.loss, *values, score, smooth])

    def summary(self) -> dict[str, Any]:
        """Return what every checkpoint says of its run."""
        return {
            "epoch": self.epoch,
            "batches": self.batches,
            "best": {"epoch": self.best_epoch, "score": self.best_score},
            "validation_batches": self.validation_batches,
            "history": self.history,
        }

    def state_dict(self, fabric: Fabric) -> dict[str, Any]:
        """Return all that a run needs to go on, beside the weights that are validated; all processes call this."""
        state = {
            **self.summary(),
            "iteration": self.iteration,
            "sums": None if self.sums is None else self.sums.tolist(),
            "weights_of_sums": None if self.weights is None else self.weights.tolist(),
            "optimizer": self.optimizer.state_dict() if self.whole is None else gather_optimizer(self.optimizer),
            "step_sizes": self.step_sizes.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "random": random_state(),
            "world_size": fabric.world_size,
        }
        if self.average:
            state["weights"] = self.network.state_dict()
            state["average_steps"] = self.average.steps
        return state

    def load_summary(self, state: dict[str, Any], per_epoch: int = 0) -> None:
        """Take over what every checkpoint says; those of earlier versions do not say how many batches there were."""
        self.epoch = state["epoch"]
        self.batches = state.get("batches", self.epoch * per_epoch + state.get("iteration", 0))
        self.best_epoch, self.best_score = state["best"]["epoch"], state["best"]["score"]
        self.validation_batches = state["validation_batches"]
        # Runs of earlier versions noted no score.
        self.history = [[*row, math.nan, math.nan][:7] for row in state["history"]]

    def load_state_dict(self, state: dict[str, Any], fabric: Fabric, per_epoch: int = 0) -> None:
        """Go on exactly where a state was taken; see `load_summary` for ``per_epoch``.

        Raises
        ------
        ValueError, KeyError
            If the optimizer is another one.
        """
        if self.whole is None:
            self.optimizer.load_state_dict(state["optimizer"])
        else:
            scatter_optimizer(self.optimizer, state["optimizer"])
        self.step_sizes.load_state_dict(state["step_sizes"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        self.load_summary(state, per_epoch)
        self.iteration = state.get("iteration", 0)
        device = fabric.device
        dtype = exact_dtype(device)
        for name, key in (("sums", "sums"), ("weights", "weights_of_sums")):
            values = state.get(key)
            setattr(self, name, None if values is None else torch.tensor(values, dtype=dtype, device=device))
        # A checkpoint holds the state of its first process only: several processes would all draw the same.
        if fabric.world_size == 1 == state["world_size"]:
            restore_random_state(state["random"])


def score_of(settings: TrainSettings, record: EpochRecord) -> float:
    """Return what says how good an epoch is; larger is better, NaN if it lacks the score.

    Without validation the training loss decides.
    """
    if record.validation is None:
        return -record.loss
    metric = settings.best_metric
    value = record.validation.loss if metric == "loss" else record.validation.values.get(metric, math.nan)
    return -value if settings.lower_is_better else value


def as_metric(settings: TrainSettings, score: float, validated: bool) -> float:
    """Turn a score back into the metric that people know.

    Examples
    --------
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (1, 64, 64), "scale": (8, 8, 8)}
    >>> settings = TrainSettings(classes=["nuc"], input_array_info=patch)
    >>> as_metric(settings, 0.7, validated=True), as_metric(settings, -0.3, validated=False)
    (0.7, 0.3)
    """
    return -score if settings.lower_is_better or not validated else score
