"""The settings of what is validated, kept and shown of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from csc_data.config.settings import COUNT, NOT_NEGATIVE, POSITIVE, Earlier, Given, Limits, ReadBy, setting, settings
from csc_data.config.templates import placeholder_names
from csc_data.errors import Problem
from csc_train.overrides import Place

_HIGHER = ("iou", "dice", "score", "challenge")


def _as_text(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _with_placeholders(template: str, earlier: Earlier) -> Iterator[Problem]:
    found = placeholder_names(template)
    if "epoch" not in found:
        yield Problem(where="", what=f"{template!r} must hold {{epoch}}", remedy="epochs would overwrite each other")
    other = earlier.get("model_to_load")
    if "model_name" not in found and other not in (None, earlier.get("model_name")):
        yield Problem(where="", what=f"{template!r} must hold {{model_name}}, as model_to_load is {other!r}")
    yield from _no_others(template, ("model_name", "epoch"))


def _log_placeholders(template: str, _: Earlier) -> Iterator[Problem]:
    yield from _no_others(template, ("model_name",))


def _no_others(template: str, known: tuple[str, ...]) -> Iterator[Problem]:
    for name in sorted(placeholder_names(template) - set(known)):
        words = " and ".join(f"{{{each}}}" for each in known)
        yield Problem(where="", what=f"{template!r} holds {{{name}}}", remedy=f"it may hold {words}")


def _in_that_direction(metric: str, earlier: Earlier) -> Iterator[Problem]:
    """Check that nobody asks for the lowest of what is good, or the highest loss."""
    kind, low = metric.partition("/")[0], earlier.get("low_is_best")
    if low and kind in _HIGHER:
        remedy = """set low_is_best to false, or best_metric to "loss", which the official toolbox goes by"""
        yield Problem(where="", what=f"the lowest {metric} is the worst", remedy=remedy)
    if low is False and kind == "loss":
        yield Problem(where="", what=f"the highest {metric} is the worst", remedy="leave low_is_best out")


def _memory_log_steps() -> Any:
    """Return what the official toolbox's environment variable says; a text that is not a number is refused later."""
    text = os.environ.get("MEMORY_LOG_STEPS", "100")
    return int(text) if text.strip().isdigit() else text


@settings
class RecordSettings:
    """What is validated, kept and shown."""

    validation_time_limit: float | None = setting(
        "seconds the first validation may take; later ones take the same batches", POSITIVE, default=None
    )
    low_is_best: bool | None = setting(
        "whether the lowest value of best_metric is the best; by default so for losses", default=None
    )
    best_metric: str = setting(
        "what decides which epoch is best: validation iou, dice, loss, challenge (the challenge's own score), or that "
        "of a class (dice/mito); by default iou, or loss if low_is_best, as in the official toolbox",
        _in_that_direction,
        default="",
    )
    smoothing_window: int = setting("epochs over which that is averaged, the latest of them is meant", COUNT, default=1)
    early_stopping_patience: int | None = setting(
        "epochs without a better one after which to stop", COUNT, default=None
    )
    instance_score_every: int = setting(
        "validation crops are scored as the challenge does it, instance classes every so many epochs and in the last; "
        "0 for never",
        NOT_NEGATIVE,
        default=10,
    )
    model_save_path: Given[str, Place] = setting(
        "where checkpoints go; holds {epoch}, and may hold {model_name}",
        ReadBy(_as_text, Place),
        _with_placeholders,
        default="checkpoints/{model_name}_{epoch}.pth",
    )
    save_top_k: int = setting("weights of so many best epochs are kept; -1 keeps all", Limits(ge=-1), default=3)
    checkpoint_minutes: float = setting("a run that is killed loses at most so many minutes", POSITIVE, default=10.0)
    logs_save_path: Given[str, Place] = setting(
        "TensorBoard's folder; may hold {model_name}",
        ReadBy(_as_text, Place),
        _log_placeholders,
        default="tensorboard/{model_name}",
    )
    images: int = setting("validation samples that TensorBoard shows; 0 for none", NOT_NEGATIVE, default=4)
    debug_memory: bool = setting("log how the memory grows", default=False)
    memory_log_steps: int = setting(
        "iterations from one such line to the next; by default what MEMORY_LOG_STEPS in the environment says, or 100",
        COUNT,
        factory=_memory_log_steps,
    )

    @property
    def lower_is_better(self) -> bool:
        """Whether the lowest value of ``best_metric`` is the best."""
        return self.best_metric.partition("/")[0] == "loss" if self.low_is_best is None else self.low_is_best
