"""What of an experiment's settings has no effect, beside others of them."""

from __future__ import annotations

from collections.abc import Iterator

from csc_data.loader.official_call import what_instead
from csc_train.settings.training import TrainSettings

# What a loader that is given decides by itself. batch_size is one's own name as well, and is said of it.
_SAMPLING = (
    *("datasplit_path", "validation_prob", "use_s3", "filter_by_scale", "force_all_classes", "datasets"),
    *("spatial_transforms", "intensity_transforms", "train_raw_value_transforms", "val_raw_value_transforms"),
    *("target_value_transforms", "weighted_sampler", "foreground_share", "use_mutual_exclusion", "interpolation"),
    *("num_workers", "start_method", "gather_on", "cache_bytes"),
)


def _of_our_loader(settings: TrainSettings) -> Iterator[str]:
    plain = TrainSettings(classes=settings.classes)
    for name in _SAMPLING:
        if getattr(settings, name) != getattr(plain, name):
            yield f"{name} is left out: train_loader gives batches as they are"
    if settings.validation_loader is None:
        yield "there is no validation: train_loader is given, and no validation_loader"
    if settings.weight_loss and not hasattr(settings.train_loader, "patches"):
        yield "weight_loss has no effect: nobody knows how much of each class train_loader holds"


def left_out(settings: TrainSettings) -> Iterator[str]:
    """Yield a line for each setting that is given and not followed, which says what is done instead."""
    for name in settings.dataloader_kwargs:
        yield f"dataloader_kwargs: {name} is left out: {what_instead(name)}"
    if settings.model is not None:
        for name in ("architecture", "model_kwargs", "gradient_checkpointing"):
            if getattr(settings, name):
                yield f"{name} is left out: model is a network that is made already"
    if settings.train_loader is not None:
        yield from _of_our_loader(settings)
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
