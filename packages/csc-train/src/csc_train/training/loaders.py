"""The batches of an experiment."""

from __future__ import annotations

from csc_data.config.user_config import Config, load_config
from csc_data.errors import ProblemsError
from csc_data.loader import Dataloaders, get_dataloader
from csc_data.loader.patches.value_transforms import find_unstored_change
from csc_train.network import target_array_info
from csc_train.settings import TrainSettings


def make_loaders(
    settings: TrainSettings, config: Config | None = None, *, rank: int = 0, world_size: int = 1
) -> Dataloaders:
    """Return the loaders of an experiment, for this process.

    Parameters
    ----------
    settings : TrainSettings
    config : csc_data.config.user_config.Config, optional
        Where data lies, if the experiment names no datasplit; the user's by default.
    rank, world_size : int
        This process and the number of processes; each gets other samples.

    Raises
    ------
    ProblemsError
        If prediction could not repeat what is done to raw, or the datasplit has mistakes.
    MissingDataError, UnreadableDataError
        If the datasplit or a volume that it names cannot be read.
    csc_models.ModelError
        If the network does not take patches of this shape.
    """
    _check_that_prediction_can_repeat(settings)
    datasplit = settings.datasplit_path or (config or load_config()).path("datasplit")
    return get_dataloader(
        datasplit,
        settings.classes,
        batch_size=settings.batch_size,
        input_array_info=settings.input_array_info,
        target_array_info=target_array_info(settings),
        spatial_transforms=settings.spatial_transforms,
        intensity_transforms=settings.intensity_transforms,
        train_raw_value_transforms=settings.train_raw_value_transforms,
        val_raw_value_transforms=settings.val_raw_value_transforms,
        target_value_transforms=settings.target_value_transforms,
        iterations_per_epoch=settings.iterations_per_epoch,
        weighted_sampler=settings.weighted_sampler,
        foreground_share=settings.foreground_share,
        use_mutual_exclusion=settings.use_mutual_exclusion,
        raw_range=settings.raw_range,
        validation_batch_limit=settings.validation_batch_limit,
        random_validation=settings.random_validation or settings.validation_time_limit is not None,
        random_seed=settings.random_seed,
        rank=rank,
        world_size=world_size,
        num_workers=settings.num_workers,
        cache_bytes=settings.cache_bytes,
    )


def _check_that_prediction_can_repeat(settings: TrainSettings) -> None:
    """Refuse value transforms of raw that prediction, which applies ``raw_range`` alone, would leave out."""
    problems = [
        find_unstored_change(transform, settings.raw_range, where=where, may_be_random=may_be_random)
        for where, transform, may_be_random in (
            ("train_raw_value_transforms", settings.train_raw_value_transforms, True),
            ("val_raw_value_transforms", settings.val_raw_value_transforms, False),
        )
        if transform is not None
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ProblemsError("experiment", found)
