"""The settings of optimisation: losses, steps and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from csc_data.config.settings import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    Choices,
    Earlier,
    Limits,
    ReadBy,
    setting,
    settings,
)
from csc_data.errors import Problem

OPTIMIZERS = ("adamw", "adam", "radam", "sgd")
SCHEDULERS = ("constant", "cosine", "polynomial")
CRITERIA = ("bce", "bce_dice", "dice", "focal", "tversky", "cldice", "mse", "hot_distance", "cross_entropy")


def _no_schedule(scheduler: Any) -> Any:
    """Return what stands for no scheduler, as official configurations write it."""
    return "constant" if scheduler is None else scheduler


def _as_given(criterion: Any) -> Any:
    return criterion


def _known_criterion(criterion: Any, earlier: Earlier) -> Iterable[Problem]:
    """Check a single one; what is within a list or a mapping is read with the targets that it is for."""
    return () if isinstance(criterion, Mapping | list | tuple) else Choices(CRITERIA)(criterion, earlier)


def _arguments_of_names(arguments: Mapping[str, Any], earlier: Earlier) -> Iterator[Problem]:
    scheduler = earlier.get("scheduler")
    if not isinstance(scheduler, str):
        return
    for name, value in arguments.items():
        if (scheduler, name) != ("polynomial", "power"):
            remedy = "give the class of a torch scheduler for arguments of it"
            yield Problem(where=name, what=f"{scheduler} takes no such argument", remedy=remedy)
        elif not isinstance(value, int | float) or not 0 < value < float("inf"):
            yield Problem(where=name, what=f"must be above 0, got {value!r}")


def _made_by_us(rates: Mapping[str, float], earlier: Earlier) -> Iterator[Problem]:
    optimizer = earlier.get("optimizer")
    if rates and hasattr(optimizer, "param_groups"):
        remedy = "give its class, or parameter groups of your own"
        yield Problem(where="", what="does not go with an optimizer that is made already", remedy=remedy)


@settings
class OptimisationSettings:
    """How the weights are moved."""

    epochs: int = setting("epochs in all, those of earlier runs included", COUNT, default=1000)
    learning_rate: float = setting("step size of the optimizer", POSITIVE, default=1e-4)
    optimizer: Any = setting(
        f"{', '.join(OPTIMIZERS)}, or a torch optimizer or its class", Choices(OPTIMIZERS, "step"), default="radam"
    )
    optimizer_kwargs: Mapping[str, Any] = setting("further arguments of the optimizer", factory=dict)
    learning_rates: Mapping[str, float] = setting(
        """step sizes of parts, by what the names of their weights begin with: {"encoder." = 1e-5}""",
        POSITIVE,
        _made_by_us,
        factory=dict,
    )
    scheduler: Any = setting(
        "constant, cosine or polynomial (to 0 at the last step), or a torch scheduler or its class; none is constant",
        ReadBy(_no_schedule, Any),
        Choices(SCHEDULERS, "step"),
        default="constant",
    )
    scheduler_kwargs: Mapping[str, Any] = setting(
        "arguments of the scheduler's class; power (0.9) of a polynomial one", _arguments_of_names, factory=dict
    )
    scheduler_interval: Literal["step", "epoch"] | None = setting(
        "when the scheduler moves; by default named ones every step, torch's every epoch", default=None
    )
    warmup_iterations: int = setting("optimizer steps over which the step size grows from 0", NOT_NEGATIVE, default=0)
    max_grad_norm: float | None = setting("clip gradients to this norm, once a step", POSITIVE, default=None)
    gradient_accumulation_steps: int = setting("batches per optimizer step", COUNT, default=1)
    ema: float | None = setting(
        "validate and save a running mean of the weights, with this decay", Limits(gt=0, le=1), default=None
    )
    criterion: Any = setting(
        f"{', '.join(CRITERIA)}, or the class of a torch loss that has `reduction`; a list is a sum, a mapping "
        "by names gives each output its own",
        ReadBy(_as_given, Literal[CRITERIA] | list[Any] | dict[str, Any]),
        _known_criterion,
        default="bce",
    )
    criterion_kwargs: Mapping[str, Any] = setting("arguments of the criterion's class", factory=dict)
    weight_loss: bool = setting("weigh the present voxels of a class by how rare they are", default=True)
    max_positive_weight: float = setting("the largest such weight", COUNT, default=10.0)
