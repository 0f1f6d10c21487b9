"""`train`: from an experiment to checkpoints."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Unpack

from lightning_fabric import Fabric

from csc_data.config.experiment import is_being_read
from csc_data.config.user_config import Config
from csc_data.loader import Dataloaders, TrainingPatches
from csc_train.checkpoints import checkpoint_path, list_checkpoints
from csc_train.devices import make_fabric
from csc_train.network import WeightAverage, build_network
from csc_train.overrides import TrainOverrides
from csc_train.randomness import seed_generators
from csc_train.settings import TrainSettings, read_train_settings
from csc_train.training.epochs import EpochLoop
from csc_train.training.loaders import make_loaders
from csc_train.training.logbook import Logbook
from csc_train.training.losses import KnownVoxelLoss, positive_weights
from csc_train.training.optimisation import StepSizes, build_optimizer
from csc_train.training.results import EpochRecord, TrainCallback, TrainProgress, TrainResult
from csc_train.training.run_state import RunState, as_metric, best_of, take_up

logger = logging.getLogger(__name__)


def train(
    experiment: str | PathLike[str] | TrainSettings,
    *,
    config: Config | None = None,
    progress: TrainCallback | None = None,
    **overrides: Unpack[TrainOverrides],
) -> TrainResult:
    """Train a network, and save a checkpoint after each epoch.

    A run goes on from its latest checkpoint where there is one (see ``load_model``), so a run that was stopped is
    started again by the same call; on the CPU it then ends with the very weights of an unbroken run.

    Parameters
    ----------
    experiment : path-like or TrainSettings
        An experiment file (.py or .toml), or the settings themselves. A Python file may end in ``train(__file__)``.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default. Used where the experiment names no datasplit.
    progress : callable, optional
        Called with a `TrainProgress` after each batch and epoch.
    **overrides : object
        Settings that go before those of the experiment; None leaves them.

    Returns
    -------
    TrainResult
        Empty when called by an experiment file that is just being read for its settings.

    Raises
    ------
    ProblemsError
        With everything that is wrong in the settings.
    CscError, csc_models.ModelError
        If data, network or checkpoints cannot be used.
    """
    if not isinstance(experiment, TrainSettings) and is_being_read(Path(experiment)):
        return TrainResult()
    settings = read_train_settings(experiment, **overrides)
    started = time.perf_counter()
    fabric = make_fabric(
        settings.device,
        settings.precision,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
    )
    loop, resumed_from = _set_up(settings, config, fabric)
    logbook = Logbook(
        Path(settings.logs_save_path.format(model_name=settings.model_name)).expanduser(),
        first_step=loop.state.epoch * settings.iterations_per_epoch,
        enabled=fabric.is_global_zero,
    )
    try:
        records, written = _run_epochs(loop, logbook, progress or _keep_silent)
    finally:
        logbook.close()
    return replace(
        _result(settings, loop.state),
        checkpoints=tuple(written),
        records=tuple(records),
        resumed_from=resumed_from,
        seconds=time.perf_counter() - started,
    )


def _set_up(settings: TrainSettings, config: Config | None, fabric: Fabric) -> tuple[EpochLoop, Path | None]:
    """Return all that epochs need, and the checkpoint that the run goes on from, if it goes on."""
    seed_generators(settings.random_seed)  # before the network is built: its weights are drawn
    network = build_network(settings)
    loaders = make_loaders(settings, config, rank=fabric.global_rank, world_size=fabric.world_size)
    for loader in filter(None, loaders):
        loader.device = str(fabric.device)
    average = WeightAverage(network, settings.ema) if settings.ema else None
    optimizer = build_optimizer(settings, network)
    state = RunState(network=network, optimizer=optimizer, step_sizes=StepSizes(settings, optimizer), average=average)
    wrapped, stepper = fabric.setup(network, optimizer)
    if average:
        average.module.to(fabric.device)
    seed_generators(settings.random_seed + fabric.global_rank)
    resumed_from = take_up(state, settings, fabric)
    loop = EpochLoop(
        settings=settings,
        fabric=fabric,
        state=state,
        network=wrapped,
        stepper=stepper,
        loaders=loaders,
        criterion=_make_criterion(settings, loaders).to(fabric.device),
    )
    return loop, resumed_from


def _keep_silent(state: TrainProgress) -> None:
    """Stand for no callback."""


def _make_criterion(settings: TrainSettings, loaders: Dataloaders) -> KnownVoxelLoss:
    weights = None
    patches = loaders.train.patches
    if settings.weight_loss and settings.criterion in ("bce", "bce_dice") and isinstance(patches, TrainingPatches):
        counts = patches.draws.class_counts()
        weights = positive_weights(counts.present, counts.known, settings.max_positive_weight)
        absent = [name for name, count in counts.present.items() if count == 0]
        if absent:
            logger.warning("no training crop has any voxel of %s", ", ".join(absent))
    return KnownVoxelLoss(settings.criterion, settings.criterion_kwargs, weights)


def _run_epochs(loop: EpochLoop, logbook: Logbook, progress: TrainCallback) -> tuple[list[EpochRecord], list[Path]]:
    records: list[EpochRecord] = []
    written: list[Path] = []
    settings, state = loop.settings, loop.state
    while state.epoch < settings.epochs:
        record = loop.run(state.epoch + 1, logbook, progress)
        score = best_of(settings, record)
        state.step_sizes.after_epoch(-score)
        state.finish_epoch(record, score)
        if loop.fabric.is_global_zero:
            written.append(state.save(settings, loop.fabric))
        loop.fabric.barrier()
        logbook.epoch(record.epoch * settings.iterations_per_epoch, record)
        records.append(record)
        progress(
            TrainProgress(
                stage="epoch",
                epoch=record.epoch,
                epochs=settings.epochs,
                iteration=settings.iterations_per_epoch,
                iterations=settings.iterations_per_epoch,
                loss=record.loss,
                record=record,
            )
        )
    return records, written


def _result(settings: TrainSettings, state: RunState) -> TrainResult:
    """Return what all runs of this name have done together: the best and the latest checkpoint."""
    found = list_checkpoints(settings.model_save_path, settings.model_name)
    best = None
    if state.best_epoch is not None:
        best = checkpoint_path(settings.model_save_path, settings.model_name, state.best_epoch)
    validated = bool(state.history) and state.history[-1][2] == state.history[-1][2]
    return TrainResult(
        model_name=settings.model_name,
        best_checkpoint=best,
        latest_checkpoint=found[max(found)] if found else None,
        best_epoch=state.best_epoch,
        best_value=None if best is None else as_metric(settings, state.best_score, validated),
    )
