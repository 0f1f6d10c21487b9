"""The batches of an experiment."""

from __future__ import annotations

from csc_data.config.experiment import adjust_settings
from csc_data.config.user_config import Config
from csc_data.errors import ProblemsError
from csc_data.loader import Dataloaders
from csc_data.loader.dataloader import open_loaders
from csc_data.loader.workers.pool import Workers
from csc_train.datasplit import experiment_rows
from csc_train.network import patch_shape
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
    problems = settings.unstored_changes()
    if problems:
        raise ProblemsError("experiment", problems)
    rows = experiment_rows(settings, config, speaks=rank == 0)
    sampling = adjust_settings(
        settings,
        random_validation=settings.validation_time_limit is not None or None,
        with_positions=True,  # so that a loss that is not a number can be told with its place
    )
    workers = Workers(
        rank=rank,
        world_size=world_size,
        num_workers=settings.num_workers,
        start_method=settings.start_method,
        gather_on=settings.gather_on,
    )
    return open_loaders(rows, sampling, patch_shape(settings), settings.kinds, workers)
