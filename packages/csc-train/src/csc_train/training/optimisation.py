"""Optimizers and schedulers by name, by class, or as they are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from csc_data.errors import InvalidArgumentError
from csc_train.settings import TrainSettings

_OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"weight_decay": 1e-2}),
    "adam": (torch.optim.Adam, {}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}


def build_optimizer(settings: TrainSettings, network: nn.Module) -> Optimizer:
    """Return the optimizer of an experiment.

    Raises
    ------
    InvalidArgumentError
        If a class does not take its arguments, or an object is not an optimizer of this network.
    """
    chosen = settings.optimizer
    if isinstance(chosen, Optimizer):
        held = {id(parameter) for group in chosen.param_groups for parameter in group["params"]}
        if not held & {id(parameter) for parameter in network.parameters()}:
            raise InvalidArgumentError("optimizer does not hold the network's weights; give its name or class instead")
        return chosen
    kind, defaults = _OPTIMIZERS[chosen] if isinstance(chosen, str) else (chosen, {})
    arguments = {**defaults, "lr": settings.learning_rate, **settings.optimizer_kwargs}
    try:
        optimizer = kind(network.parameters(), **arguments)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"optimizer {chosen!r} does not take {arguments}: {error}") from error
    if not isinstance(optimizer, Optimizer):
        raise InvalidArgumentError(f"optimizer {chosen!r} makes a {type(optimizer).__name__}, not a torch optimizer")
    return optimizer


class StepSizes:
    """The schedule of the step size.

    Named schedules move with every optimizer step, a scheduler of torch with every epoch.

    Parameters
    ----------
    settings : TrainSettings
    optimizer : torch.optim.Optimizer
    """

    def __init__(self, settings: TrainSettings, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        steps = settings.epochs * math.ceil(settings.iterations_per_epoch / settings.gradient_accumulation_steps)
        named = isinstance(settings.scheduler, str)
        cosine = settings.scheduler == "cosine"
        warmup = settings.warmup_iterations

        # Counted in optimizer steps of all epochs, so that a resumed run follows the curve of an unbroken one.
        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            progress = min(1.0, (step - warmup) / max(1, steps - warmup))
            return 0.5 * (1 + math.cos(math.pi * progress)) if cosine else 1.0

        self._per_step: LRScheduler | None = LambdaLR(optimizer, factor) if named or warmup else None
        self._per_epoch: Any = None
        if not named:
            try:
                self._per_epoch = settings.scheduler(optimizer, **settings.scheduler_kwargs)
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError(
                    f"scheduler {settings.scheduler!r} does not take {dict(settings.scheduler_kwargs)}: {error}"
                ) from error

    @property
    def learning_rate(self) -> float:
        """The step size now, of the first group of weights."""
        return float(self.optimizer.param_groups[0]["lr"])

    def rescale(self, factor: float) -> None:
        """Multiply all step sizes, those to come included."""
        for group in self.optimizer.param_groups:
            for name in ("lr", "initial_lr"):
                if name in group:
                    group[name] = group[name] * factor
        for scheduler in filter(None, (self._per_step, self._per_epoch)):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]

    def after_step(self) -> None:
        """Move on after an optimizer step."""
        if self._per_step is not None:
            self._per_step.step()

    def after_epoch(self, metric: float) -> None:
        """Move on after an epoch; a scheduler that waits for plateaus gets the metric."""
        if isinstance(self._per_epoch, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self._per_epoch.step(metric)
        elif self._per_epoch is not None:
            self._per_epoch.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as plain data."""
        return {
            name: _plain_state(scheduler)
            for name, scheduler in (("step", self._per_step), ("epoch", self._per_epoch))
            if scheduler is not None
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; schedules that were not there when it was saved start anew."""
        for name, scheduler in (("step", self._per_step), ("epoch", self._per_epoch)):
            if scheduler is not None and name in state:
                scheduler.load_state_dict(state[name])


def _plain_state(scheduler: Any) -> dict[str, Any]:
    """Leave out what is not data, such as the functions that some schedulers keep: they are made again on loading."""
    return {name: value for name, value in scheduler.state_dict().items() if not callable(value)}
