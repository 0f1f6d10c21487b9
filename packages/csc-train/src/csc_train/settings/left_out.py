"""What of an experiment's settings has no effect, beside others of them."""

from __future__ import annotations

from collections.abc import Iterator

from csc_data.loader.official_call import what_instead
from csc_train.settings.training import TrainSettings


def left_out(settings: TrainSettings) -> Iterator[str]:
    """Yield a line for each setting that is given and not followed, which says what is done instead."""
    for name in settings.dataloader_kwargs:
        yield f"dataloader_kwargs: {name} is left out: {what_instead(name)}"
    if settings.model is not None:
        for name in ("architecture", "model_kwargs", "gradient_checkpointing"):
            if getattr(settings, name):
                yield f"{name} is left out: model is a network that is made already"
    groups = getattr(settings.optimizer, "param_groups", None)
    if groups is not None:
        rates = sorted({float(group["lr"]) for group in groups})
        if rates != [settings.learning_rate]:
            found = ", ".join(f"{rate:g}" for rate in rates)
            yield f"learning_rate = {settings.learning_rate:g} is left out: the optimizer that is given has {found}"
        if settings.optimizer_kwargs:
            yield "optimizer_kwargs is left out: optimizer is made already"
    if settings.scheduler_kwargs and hasattr(settings.scheduler, "optimizer"):
        yield "scheduler_kwargs is left out: scheduler is made already"
