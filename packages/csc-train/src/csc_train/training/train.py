"""`train`: from an experiment to checkpoints."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import torch
from torch import nn

from csc_data.config.experiment import Experiment, adjust_settings, is_being_read
from csc_data.config.user_config import Config
from csc_data.errors import Problem, ProblemsError, did_you_mean
from csc_data.loader import TrainingPatches
from csc_data.loader.sampling.counts import ClassCounts
from csc_train.challenge_score.choosing import make_score_plan
from csc_train.challenge_score.plan import ALL
from csc_train.challenge_score.scoring import PostProcess
from csc_train.checkpoints import checkpoint_path, list_checkpoints, resume_path
from csc_train.devices import make_fabric
from csc_train.network import WeightAverage, build_network
from csc_train.objectives.objective import build_objective
from csc_train.overrides import TrainOverrides
from csc_train.randomness import seed_generators
from csc_train.settings import TrainSettings, read_train_settings
from csc_train.settings.left_out import left_out
from csc_train.sharding import is_sharded, set_up_sharded
from csc_train.training.hooks.challenge import ChallengeScore
from csc_train.training.hooks.images import Images
from csc_train.training.hooks.keeping import Keeping
from csc_train.training.hooks.logbook import Logbook
from csc_train.training.hooks.memory import MemoryReport
from csc_train.training.hooks.metrics_table import MetricsTable
from csc_train.training.hooks.progress import ProgressBar
from csc_train.training.hooks.run_record import RunRecord
from csc_train.training.hooks.signals import Signals
from csc_train.training.hooks.stopping import EarlyStopping
from csc_train.training.loaders import Loaders, open_run_loaders
from csc_train.training.loop import run_epochs
from csc_train.training.optimisation import StepSizes, build_optimizer
from csc_train.training.rehearsal import Rehearsal, check_places, rehearse
from csc_train.training.results import TrainCallback, TrainProgress, TrainResult
from csc_train.training.resume import check_own, set_aside_later, take_up
from csc_train.training.run import CHANNELS_LAST, Hook, Run
from csc_train.training.run_state import RunState, as_metric

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


def train(
    experiment: str | PathLike[str] | Experiment | TrainSettings,
    *,
    config: Config | None = None,
    progress: TrainCallback | None = None,
    post_process: PostProcess | None = None,
    **overrides: Unpack[TrainOverrides],
) -> TrainResult:
    """Train a network, and keep the weights of its best epochs.

    A run goes on from where it was where it was saved (see ``load_model``), so a run that was stopped is started again
    by the same call; on the CPU it then ends with the very weights of an unbroken run. It is saved after each epoch,
    every ``checkpoint_minutes``, and when SIGTERM, SIGUSR1 or Ctrl-C ask it to end, which it does after its step.

    Parameters
    ----------
    experiment : path-like, Experiment or TrainSettings
        An experiment file (.py or .toml), one that was read, or the settings themselves. A Python file may end in
        ``train(__file__)``.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default. Used where the experiment names no datasplit.
    progress : callable, optional
        Called with a `TrainProgress` after each batch and epoch; a bar and a line for each epoch by default.
    post_process : callable, optional
        For the challenge's own score of the validation crops: called with the name of a class, its probabilities in a
        crop, float32 (z, y, x), and the voxel size in nm; returns a mask, or labels. A threshold at a half by default,
        and connected components of instance classes. `csc_submit.process_array` does what an experiment says.
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
    KeyboardInterrupt
        After Ctrl-C, once all is saved.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from csc_train import TrainSettings, train
    >>> batches = [{"input": torch.rand(2, 1, 16, 16), "output": torch.ones(2, 1, 16, 16)}] * 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = TrainSettings(
    ...         classes=["nuc"], model_name="2d_unet_s", model_kwargs={"width": 4, "depth": 2}, epochs=2, device="cpu",
    ...         input_array_info={"shape": (1, 16, 16), "scale": (8, 8, 8)}, train_loader=batches,
    ...         base_experiment_path=folder,
    ...     )
    ...     result = train(settings, progress=lambda state: None)
    ...     print([record.epoch for record in result.records], [path.name for path in result.checkpoints])
    [1, 2] ['2d_unet_s_1.pth', '2d_unet_s_2.pth']
    """
    file = file_of(experiment)
    if file is not None and is_being_read(file):
        return TrainResult()
    settings = read_train_settings(experiment, config, **overrides)
    check_own(settings, file)
    return run_training(set_up_run(settings, config), file, progress, post_process)


def run_training(
    run: Run, experiment: Path | None, progress: TrainCallback | None, post_process: PostProcess | None = None
) -> TrainResult:
    """Run all epochs of what `set_up_run` gave, with everything that is kept, logged and shown; see `train`."""
    started = time.perf_counter()
    settings = run.settings
    if run.speaks:
        check_places(run)
    if run.resumed_from:
        set_aside_later(run.resumed_from, run.state, settings, run.fabric)
    keeping = Keeping()
    run.hooks = [Signals(), ChallengeScore(post_process), *_observers(settings, experiment, progress), keeping]
    records = run_epochs(run)
    if run.stopping == "signal SIGINT":
        logger.warning("%s", run.how_to_go_on())
        raise KeyboardInterrupt
    return replace(
        _result(settings, run.state),
        checkpoints=tuple(keeping.written),
        records=tuple(records),
        resumed_from=run.resumed_from,
        seconds=time.perf_counter() - started,
        stopped=run.stopping,
    )


def file_of(experiment: str | PathLike[str] | Experiment | TrainSettings) -> Path | None:
    """Return the file of an experiment; None for settings made in code.

    Examples
    --------
    >>> file_of("mine.toml").name
    'mine.toml'
    """
    if isinstance(experiment, TrainSettings):
        return None
    return experiment.path if isinstance(experiment, Experiment) else Path(experiment)


def _observers(settings: TrainSettings, experiment: Path | None, progress: TrainCallback | None) -> list[Hook]:
    """Return who looks on: they write what a step brought before it is saved, so that no resumed run lacks it."""
    logbook = Logbook()
    return [
        logbook,
        MetricsTable(),
        RunRecord(experiment),
        *([Images(logbook, settings.images)] if settings.images else []),
        *([MemoryReport(settings.memory_log_steps)] if settings.debug_memory else []),
        *([EarlyStopping(settings.early_stopping_patience)] if settings.early_stopping_patience else []),
        ProgressBar() if progress is None else Reporting(progress),
    ]


class Reporting(Hook):
    """Calls somebody with each progress."""

    def __init__(self, callback: TrainCallback) -> None:
        self._callback = callback

    def on_progress(self, run: Run, progress: TrainProgress) -> None:
        """Hand it on."""
        self._callback(progress)


def rehearse_training(
    experiment: str | PathLike[str] | TrainSettings,
    *,
    config: Config | None = None,
    **overrides: Unpack[TrainOverrides],
) -> Rehearsal:
    """Prove what can be proven of a training run without training: nothing is written.

    Data, network, loss, strategy and checkpoints are opened as `train` does it, and a few batches go forward and back.

    Parameters
    ----------
    experiment, config, **overrides
        As for `train`.

    Returns
    -------
    Rehearsal
        What the run would take.

    Raises
    ------
    ProblemsError, CscError, csc_models.ModelError
        As `train` does before its first step.

    Examples
    --------
    >>> import torch
    >>> from csc_train import TrainSettings, rehearse_training
    >>> batches = [{"input": torch.rand(2, 1, 16, 16), "output": torch.ones(2, 1, 16, 16)}] * 2
    >>> settings = TrainSettings(
    ...     classes=["nuc"], model_name="2d_unet_s", model_kwargs={"width": 4, "depth": 2}, epochs=2, device="cpu",
    ...     input_array_info={"shape": (1, 16, 16), "scale": (8, 8, 8)}, train_loader=batches,
    ... )
    >>> [line for line in rehearse_training(settings).lines if line.startswith("training")]
    ['training: 2 batches an epoch, of a loader that is given']
    """
    without_split = partial(open_run_loaders, keeps_split=False)
    settings = read_train_settings(experiment, config, **overrides)
    check_own(settings, file_of(experiment))
    return rehearse(set_up_run(settings, config, open_loaders=without_split))


OpenLoaders = Callable[[TrainSettings, Config | None, "Fabric"], Loaders]
"""Gives the batches of a run."""


def set_up_run(settings: TrainSettings, config: Config | None, *, open_loaders: OpenLoaders = open_run_loaders) -> Run:
    """Return all that epochs need; on the disk nothing changes but a datasplit that ``open_loaders`` makes."""
    fabric = make_fabric(
        settings.device,
        settings.precision,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
    )
    for line in left_out(settings) if fabric.is_global_zero else ():
        logger.warning("%s", line)
    loaders = open_loaders(settings, config, fabric)
    # A loader that is given may have fewer batches than an epoch was to have.
    settings = adjust_settings(settings, iterations_per_epoch=len(loaders.train))
    objective = build_objective(settings, _counts(settings, loaders), loaders.kinds)
    objective.to(fabric.device)
    score_plan = make_score_plan(settings, objective, loaders.validation, fabric.world_size)
    _check_metric(settings, [*objective.metrics().scores(), *score_plan.names()], score_plan.remarks)
    seed_generators(settings.random_seed)  # before the network is built: its weights are drawn
    network = build_network(settings, sum(objective.channels.values()))
    if settings.channels_last:
        network = network.to(memory_format=CHANNELS_LAST[4 if settings.input_array_info.flat else 5])
    average = WeightAverage(network, settings.ema) if settings.ema else None
    optimizer = build_optimizer(settings, network)
    state = RunState(network=network, optimizer=optimizer, step_sizes=StepSizes(settings, optimizer), average=average)
    trained = cast("nn.Module", torch.compile(network)) if settings.compile else network
    if is_sharded(fabric):
        state.whole = copy.deepcopy(network).to(fabric.device)
        wrapped, stepper = set_up_sharded(fabric, network, trained, optimizer)
    else:
        wrapped, stepper = fabric.setup(trained, optimizer)
    if average:
        average.module.to(fabric.device)
    seed_generators(settings.random_seed + fabric.global_rank)
    resumed_from = take_up(state, settings, fabric)
    return Run(
        settings=settings,
        fabric=fabric,
        state=state,
        network=wrapped,
        stepper=stepper,
        loaders=loaders,
        objective=objective,
        score_plan=score_plan,
        resumed_from=resumed_from,
    )


def _check_metric(settings: TrainSettings, scores: Sequence[str], remarks: Sequence[str]) -> None:
    known = ["loss", *scores]
    if settings.best_metric not in known:
        why = f" ({'; '.join(remarks)})" if remarks and settings.best_metric.partition("/")[0] == ALL else ""
        what = f"there is no metric {settings.best_metric!r}{why}"
        remedy = did_you_mean(settings.best_metric, known)
        raise ProblemsError("experiment", [Problem(where="best_metric", what=what, remedy=remedy)])


def _counts(settings: TrainSettings, loaders: Loaders) -> ClassCounts | None:
    """Return how much of each class the training crops hold, where losses are weighed by it."""
    patches = loaders.train.patches
    if not settings.weight_loss or not isinstance(patches, TrainingPatches):
        return None
    counts = patches.draws.class_counts()
    absent = [name for name, count in counts.present.items() if count == 0]
    if absent:
        logger.warning("no training crop has any voxel of %s", ", ".join(absent))
    return counts


def _result(settings: TrainSettings, state: RunState) -> TrainResult:
    """Return what all runs of this name have done together: the best and the latest checkpoint."""
    found = list_checkpoints(settings.model_save_path, settings.model_name)
    resume = resume_path(settings.model_save_path, settings.model_name)
    best = None
    if state.best_epoch is not None:
        best = checkpoint_path(settings.model_save_path, settings.model_name, state.best_epoch)
    validated = bool(state.history) and not math.isnan(state.history[-1][2])
    return TrainResult(
        model_name=settings.model_name,
        best_checkpoint=best,
        latest_checkpoint=found[max(found)] if found else resume if resume.is_file() else None,
        best_epoch=state.best_epoch,
        best_value=None if best is None else as_metric(settings, state.best_score, validated),
    )
