"""Optimizers and schedulers by name, by class, or as they are."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from csc_data.errors import InvalidArgumentError
from csc_train.parts import parameter_groups
from csc_train.settings import TrainSettings

_OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"weight_decay": 1e-2}),
    "adam": (torch.optim.Adam, {}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}
# The share of the step size where this share of the way is gone; arguments are the scheduler's.
_CURVES: dict[str, Callable[..., float]] = {
    "constant": lambda way: 1.0,
    "cosine": lambda way: 0.5 * (1 + math.cos(math.pi * way)),
    "polynomial": lambda way, power=0.9: (1.0 - way) ** power,
}


def build_optimizer(settings: TrainSettings, network: nn.Module) -> Optimizer:
    """Return the optimizer of an experiment.

    Raises
    ------
    InvalidArgumentError
        If a class does not take its arguments, an object is not an optimizer of this network, or the network has no
        weights of such a name.

    Examples
    --------
    >>> import torch
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (1, 64, 64), "scale": (8, 8, 8)}
    >>> settings = TrainSettings(classes=["nuc"], input_array_info=patch, optimizer="adamw", learning_rate=1e-3)
    >>> optimizer = build_optimizer(settings, torch.nn.Linear(1, 1))
    >>> type(optimizer).__name__, optimizer.param_groups[0]["lr"]
    ('AdamW', 0.001)
    """
    chosen = settings.optimizer
    if isinstance(chosen, Optimizer):
        held = {id(parameter) for group in chosen.param_groups for parameter in group["params"]}
        if not held & {id(parameter) for parameter in network.parameters()}:
            raise InvalidArgumentError("optimizer does not hold the network's weights; give its name or class instead")
        return chosen
    kind, defaults = _OPTIMIZERS[chosen] if isinstance(chosen, str) else (chosen, {})
    groups = parameter_groups(network, settings.learning_rates)
    arguments = {**defaults, "lr": settings.learning_rate, **settings.optimizer_kwargs}
    try:
        optimizer = kind(groups, **arguments)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"optimizer {chosen!r} does not take {arguments}: {error}") from error
    if not isinstance(optimizer, Optimizer):
        raise InvalidArgumentError(f"optimizer {chosen!r} makes a {type(optimizer).__name__}, not a torch optimizer")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InvalidArgumentError(
            f"optimizer {chosen!r} needs the loss several times a step (a closure); take another"
        )
    return optimizer


class StepSizes:
    """The schedule of the step size: a warm-up, times a named curve or what a scheduler of torch says.

    Parameters
    ----------
    settings : TrainSettings
    optimizer : torch.optim.Optimizer

    Raises
    ------
    InvalidArgumentError
        If a scheduler does not take its arguments, or moves another optimizer.

    Examples
    --------
    >>> import torch
    >>> from csc_train import TrainSettings
    >>> patch = {"shape": (1, 64, 64), "scale": (8, 8, 8)}
    >>> settings = TrainSettings(classes=["nuc"], input_array_info=patch, learning_rate=1e-3, warmup_iterations=4)
    >>> sizes = StepSizes(settings, build_optimizer(settings, torch.nn.Linear(1, 1)))
    >>> before = sizes.learning_rate
    >>> sizes.after_step()
    >>> before < sizes.learning_rate <= 1e-3
    True
    >>> other = StepSizes(settings, build_optimizer(settings, torch.nn.Linear(1, 1)))
    >>> other.load_state_dict(sizes.state_dict())
    >>> other.learning_rate == sizes.learning_rate
    True
    """

    def __init__(self, settings: TrainSettings, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._warmup = settings.warmup_iterations
        self._steps = 0
        # Counted in optimizer steps of all epochs, so that a resumed run follows the curve of an unbroken one.
        self._per_epoch = math.ceil(settings.iterations_per_epoch / settings.gradient_accumulation_steps)
        self._total = settings.epochs * self._per_epoch
        self._asked = self._rates()
        named = isinstance(settings.scheduler, str)
        self._interval = settings.scheduler_interval or ("step" if named else "epoch")
        self._curve = _CURVES[settings.scheduler] if named else None
        self._arguments = settings.scheduler_kwargs
        self._scheduler: Any = None if named else _make_scheduler(settings, optimizer, self._interval)
        moves = self._total if self._interval == "step" else settings.epochs
        most = getattr(self._scheduler, "total_steps", moves)  # a OneCycleLR fails when it is asked for more
        if most < moves:
            what = f"has total_steps = {most} and moves {moves} times, once each {self._interval}"
            raise InvalidArgumentError(f"scheduler {type(self._scheduler).__name__} {what}; see scheduler_kwargs")
        # What the scheduler says, unlowered by the warm-up: most schedulers go on from the step size that they find.
        self._own = self._rates()
        self._apply()

    @property
    def learning_rate(self) -> float:
        """The step size now, of the first group of weights."""
        return float(self.optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Move on after an optimizer step."""
        self._steps += 1
        if self._scheduler is not None and self._interval == "step":
            self._move()
        self._apply()

    def after_epoch(self, metric: float) -> None:
        """Move on after an epoch; a scheduler that waits for plateaus gets the metric, of which less is better.

        It does not see epochs that have none (NaN): they are neither better nor worse.
        """
        if isinstance(self._scheduler, ReduceLROnPlateau):
            if math.isnan(metric):
                return
            self._move(-metric if self._scheduler.mode == "max" else metric)
        elif self._scheduler is not None and self._interval == "epoch":
            self._move()
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as plain data."""
        state = {"steps": self._steps, "asked": self._asked, "own": self._own}
        return state if self._scheduler is None else {**state, "scheduler": _plain_state(self._scheduler)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, once the optimizer has.

        Learning rates that the experiment now asks for count, and move a scheduler's in proportion; a scheduler that
        was not there when the state was saved starts anew.
        """
        self._steps = state["steps"]
        if self._scheduler is not None and "scheduler" in state:
            self._scheduler.load_state_dict(_with_counters(state["scheduler"], self._scheduler))
            factors = [asked / before for asked, before in zip(self._asked, state["asked"], strict=True)]
            self._own = [rate * factor for rate, factor in zip(state["own"], factors, strict=True)]
            for scheduler in _with_inner(self._scheduler):
                if hasattr(scheduler, "base_lrs"):
                    scheduler.base_lrs = [r * f for r, f in zip(scheduler.base_lrs, factors, strict=True)]
            for group, factor in zip(self.optimizer.param_groups, factors, strict=True):
                group.update({"initial_lr": group["initial_lr"] * factor} if "initial_lr" in group else {})
        self._apply()

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _move(self, *metric: float) -> None:
        self._set(self._own)
        try:
            self._scheduler.step(*metric)
        except (TypeError, ValueError, ArithmeticError) as error:  # of its arguments, such as steps that are too few
            name = type(self._scheduler).__name__
            raise InvalidArgumentError(
                f"scheduler {name} fails after step {self._steps} of {self._total}: {error}; see scheduler_kwargs, and "
                f"scheduler_interval, which is {self._interval!r}"
            ) from error
        self._own = self._rates()

    def _apply(self) -> None:
        factor = min(1.0, (self._steps + 1) / (self._warmup + 1))
        if self._curve is None:
            self._set([rate * factor for rate in self._own])
            return
        step = self._steps if self._interval == "step" else self._steps // self._per_epoch * self._per_epoch
        way = max(0, step - self._warmup) / max(1, self._total - self._warmup)
        share = factor * self._curve(min(1.0, way), **self._arguments)
        self._set([rate * share for rate in self._asked])

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _make_scheduler(settings: TrainSettings, optimizer: Optimizer, interval: str) -> Any:
    chosen = settings.scheduler
    if hasattr(chosen, "step") and not isinstance(chosen, type):
        if getattr(chosen, "optimizer", None) is not optimizer:
            raise InvalidArgumentError(
                "scheduler was made for another optimizer than the one that trains; give its class, with "
                "scheduler_kwargs, or the optimizer that it was made for"
            )
        scheduler = chosen
    else:
        try:
            scheduler = chosen(optimizer, **settings.scheduler_kwargs)
        except (TypeError, ValueError) as error:
            given = dict(settings.scheduler_kwargs)
            raise InvalidArgumentError(f"scheduler {chosen!r} does not take {given}: {error}") from error
        if not hasattr(scheduler, "step"):
            raise InvalidArgumentError(f"scheduler {chosen!r} makes {scheduler!r}, which has no step()")
    if isinstance(scheduler, ReduceLROnPlateau) and interval == "step":
        raise InvalidArgumentError("a ReduceLROnPlateau goes by validation; leave scheduler_interval out")
    return scheduler


def _with_inner(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler and those that it is made of."""
    yield scheduler
    for inner in getattr(scheduler, "_schedulers", ()):
        yield from _with_inner(inner)


def _plain_state(scheduler: Any) -> dict[str, Any]:
    """Leave out what is not data, such as the functions that some schedulers keep: they are made again on loading."""
    return {
        name: dict(value) if isinstance(value, Counter) else value
        for name, value in scheduler.state_dict().items()
        if not callable(value)
    }


def _with_counters(state: dict[str, Any], scheduler: Any) -> dict[str, Any]:
    """Make counters of mappings again, where a scheduler keeps some."""
    return {
        name: Counter(value) if isinstance(getattr(scheduler, name, None), Counter) else value
        for name, value in state.items()
    }
