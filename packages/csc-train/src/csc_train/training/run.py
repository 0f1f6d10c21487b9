"""`train`: from an experiment to checkpoints."""

from __future__ import annotations

import logging
import time
from os import PathLike
from pathlib import Path
from typing import Any

from csc_data.config.experiment import is_being_read
from csc_data.config.user_config import Config
from csc_data.loader import Dataloaders, TrainingPatches
from csc_train.checkpoints import checkpoint_path, list_checkpoints
from csc_train.devices import make_fabric
from csc_train.network import WeightAverage, build_network
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
    **overrides: Any,
) -> TrainResult:
    """Train a network, and save a checkpoint after each epoch.

    A run goes on from its latest checkpoint where there is one (see ``load_model``), so a run that was stopped is
    started again by the same call; on the CPU it then ends with the very weights of an unbroken run.

    Parameters
    ----------
    experiment : path-like or TrainSettings
        An experiment file (.py or .toml), or the settings themselves. A Python file may end in ``train(__file__)``.
    config : csc_data.config.user_config.Settings, optional
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
    options = read_train_settings(experiment, **overrides)
    started = time.perf_counter()
    fabric = make_fabric(
        options.device,
        options.precision,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy,
    )
    seed_generators(options.random_seed)  # before the network is built: its weights are drawn
    network = build_network(options)
    loaders = make_loaders(options, config, rank=fabric.global_rank, world_size=fabric.world_size)
    average = WeightAverage(network, options.ema) if options.ema else None
    optimizer = build_optimizer(options, network)
    state = RunState(network=network, optimizer=optimizer, step_sizes=StepSizes(options, optimizer), average=average)
    wrapped, stepper = fabric.setup(network, optimizer)
    if average:
        average.module.to(fabric.device)
    seed_generators(options.random_seed + fabric.global_rank)
    resumed_from = take_up(state, options, fabric)
    loop = EpochLoop(
        settings=options,
        fabric=fabric,
        state=state,
        network=wrapped,
        stepper=stepper,
        loaders=loaders,
        criterion=_make_criterion(options, loaders).to(fabric.device),
    )
    logbook = Logbook(
        Path(options.logs_save_path.format(model_name=options.model_name)).expanduser(),
        first_step=state.epoch * options.iterations_per_epoch,
        enabled=fabric.is_global_zero,
    )
    try:
        records, written = _run_epochs(loop, logbook, progress)
    finally:
        logbook.close()
    return _result(options, state, records, written, resumed_from, time.perf_counter() - started)


def _make_criterion(options: TrainSettings, loaders: Dataloaders) -> KnownVoxelLoss:
    weights = None
    patches = loaders.train.patches
    if options.weight_loss and options.criterion in ("bce", "bce_dice") and isinstance(patches, TrainingPatches):
        counts = patches.class_counts()
        weights = positive_weights(counts.present, counts.known, options.max_positive_weight)
        absent = [name for name, count in counts.present.items() if count == 0]
        if absent:
            logger.warning("no training crop has any voxel of %s", ", ".join(absent))
    return KnownVoxelLoss(options.criterion, options.criterion_kwargs, weights)


def _run_epochs(
    loop: EpochLoop, logbook: Logbook, progress: TrainCallback | None
) -> tuple[list[EpochRecord], list[Path]]:
    records: list[EpochRecord] = []
    written: list[Path] = []
    options, state = loop.settings, loop.state
    while state.epoch < options.epochs:
        record = loop.run(state.epoch + 1, logbook, progress)
        score = best_of(options, record)
        state.step_sizes.after_epoch(-score)
        state.finish_epoch(record, score)
        if loop.fabric.is_global_zero:
            written.append(state.save(options, loop.fabric))
        loop.fabric.barrier()
        logbook.epoch(record.epoch * options.iterations_per_epoch, record)
        records.append(record)
        if progress:
            progress(
                TrainProgress(
                    stage="epoch",
                    epoch=record.epoch,
                    epochs=options.epochs,
                    iteration=options.iterations_per_epoch,
                    iterations=options.iterations_per_epoch,
                    loss=record.loss,
                    record=record,
                )
            )
    return records, written


def _result(
    options: TrainSettings,
    state: RunState,
    records: list[EpochRecord],
    written: list[Path],
    resumed_from: Path | None,
    seconds: float,
) -> TrainResult:
    found = list_checkpoints(options.model_save_path, options.model_name)
    best = None
    if state.best_epoch is not None:
        best = checkpoint_path(options.model_save_path, options.model_name, state.best_epoch)
    validated = bool(state.history) and state.history[-1][2] == state.history[-1][2]
    return TrainResult(
        model_name=options.model_name,
        checkpoints=tuple(written),
        best_checkpoint=best,
        latest_checkpoint=found[max(found)] if found else None,
        best_epoch=state.best_epoch,
        best_value=None if best is None else as_metric(options, state.best_score, validated),
        records=tuple(records),
        resumed_from=resumed_from,
        seconds=seconds,
    )
