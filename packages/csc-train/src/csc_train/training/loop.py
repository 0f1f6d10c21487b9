"""Epochs: steps over training batches, then validation."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor

from csc_data.errors import InvalidArgumentError
from csc_train.parts import rest
from csc_train.training.loaders import Batch
from csc_train.training.rehearsal import explained
from csc_train.training.results import EpochRecord, TrainProgress, TrainStage, ValidationScores
from csc_train.training.run import End, Run
from csc_train.training.run_state import score_of
from csc_train.training.steps import grouped, take_step, timed

_ENOUGH = 10  # batches in which something must be known: in fewer it may be chance


def run_epochs(run: Run) -> list[EpochRecord]:
    """Train until all epochs are done or somebody asks for an end, and return the epochs that this brought.

    Raises
    ------
    DivergedError
        If the loss becomes infinite or NaN.
    InvalidArgumentError
        If nothing is known of any target in an epoch.
    """
    records: list[EpochRecord] = []
    end: End = "error"
    try:
        for hook in run.hooks:
            hook.on_start(run)
        while run.state.epoch < run.settings.epochs and not run.ending:
            record = _run_epoch(run)
            if record is not None:
                records.append(record)
        end = "done" if run.stopping is None else "signal" if run.stopping.startswith("signal") else "stopped"
    finally:
        for hook in run.hooks:
            hook.on_end(run, end)
    return records


def _run_epoch(run: Run) -> EpochRecord | None:
    """Train and validate one epoch; None if it was left before its end."""
    started, run.waited, run.waited_before = time.perf_counter(), 0.0, 0.0
    state, count = run.state, len(run.loaders.train)
    first = not state.history  # what is wrong with sizes shows in the first step of a run
    run.network.train()
    rest(run.state.network, run.settings.frozen)
    run.loaders.train.set_epoch(state.epoch, first_batch=state.iteration)
    size = run.settings.gradient_accumulation_steps
    group: list[Batch] = []
    for group in grouped(timed(run, run.loaders.train), size):
        if len(group) < size and state.iteration + len(group) < count:
            break  # a signal has ended the workers, too: no step over half a group
        with explained(run) if first else nullcontext():
            step = take_step(run, group)
        first = False
        _tell(run, "train", (state.iteration, count), step.loss)
        for hook in run.hooks:
            hook.on_step(run, step)
        _agree_to_end(run)
        if run.ending and state.iteration < count:
            return None
    if run.stopping is not None and state.iteration < count:
        run.ending = True
        return None
    if not state.history and count >= _ENOUGH and not state.knows_anything:
        raise InvalidArgumentError(
            "nothing is known of any target in all patches of an epoch: there is nothing to learn; are classes, voxel "
            "sizes and the unknown value of the annotations right?"
        )
    validation = _validate(run)
    if run.loaders.validation is None and group:
        _show(run, group[-1])
    if _is_left(run):
        run.ending = True
        return None
    record = EpochRecord(
        epoch=state.epoch + 1,
        loss=state.epoch_loss(run.objective),
        learning_rate=state.step_sizes.learning_rate,
        validation=validation,
        seconds=time.perf_counter() - started,
        loading_seconds=run.waited,
    )
    score = score_of(run.settings, record)
    state.step_sizes.after_epoch(-score)
    state.finish_epoch(record, score, run.settings.smoothing_window)
    for hook in run.hooks:
        hook.on_epoch(run, record)
    _agree_to_end(run)
    _tell(run, "epoch", (count, count), record.loss, record)
    return record


@torch.no_grad()
def _validate(run: Run) -> ValidationScores | None:
    """Return the scores over all validation batches, or as many as a time limit allowed the first time."""
    loader, state, settings = run.loaders.validation, run.state, run.settings
    if loader is None:
        return None
    # The network itself, not its wrapper: processes may have different numbers of batches.
    state.gather()
    network = state.evaluated
    training = network.training
    network.eval()
    metrics = run.objective.metrics()
    sums = weights = run.objective.no_sums().to(run.fabric.device)
    limit, started = state.validation_batches, time.perf_counter()
    total = min(len(loader), limit or len(loader))
    done = 0
    for done, batch in enumerate(timed(run, islice(loader, total)), start=1):
        with run.fabric.autocast():
            outputs = network(run.network_input(batch))
        outputs = as_float(outputs)
        losses, known = run.objective.losses(outputs, batch).to(sums.dtype), run.objective.weights(batch)
        sums, weights = sums + losses, weights + known
        metrics.add(outputs, batch)
        for hook in run.hooks:
            hook.on_validation_batch(run, batch, outputs)
        _tell(run, "validate", (done, total), float(run.objective.total(losses, known)))
        seconds = settings.validation_time_limit
        if _is_left(run) or (limit is None and seconds is not None and time.perf_counter() - started > seconds):
            break
    if settings.validation_time_limit is not None and limit is None and not _is_left(run):
        state.validation_batches = done
    network.train(training)
    if run.fabric.world_size > 1:
        pieces = [sums, weights, metrics.state().to(sums)]
        added = cast("Tensor", run.fabric.all_reduce(torch.cat(pieces), reduce_op="sum"))
        sums, weights, counts = torch.split(added, [len(piece) for piece in pieces])
        metrics.load(counts)
    known_any = bool((weights > 0).any())
    loss = float(run.objective.total(sums, weights)) if known_any else math.nan
    values = metrics.scores()
    for hook in () if _is_left(run) else run.hooks:
        values.update(hook.on_validated(run))
    return ValidationScores(loss=loss, values=values)


@torch.no_grad()
def _show(run: Run, batch: Batch) -> None:
    """Let hooks see what the network makes of a training batch, where nothing is validated."""
    run.state.gather()
    network = run.state.evaluated
    training = network.training
    network.eval()
    with run.fabric.autocast():
        outputs = network(run.network_input(batch))
    network.train(training)
    for hook in run.hooks:
        hook.on_training_batch(run, batch, as_float(outputs))


def as_float(outputs: Any) -> Any:
    """Return what a network gives in float32, whatever it is made of.

    Examples
    --------
    >>> import torch
    >>> as_float({"output": torch.zeros(1, dtype=torch.bfloat16)})["output"].dtype
    torch.float32
    """
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: as_float(value) for name, value in outputs.items()}
    return [as_float(value) for value in outputs]


def _is_left(run: Run) -> bool:
    """Tell whether validation is to be left: several processes finish it, as they add up what they found."""
    return run.fabric.world_size == 1 and (run.stopping or "").startswith("signal")


def _agree_to_end(run: Run) -> None:
    """Decide whether the run ends here, in all processes alike: a signal may reach one of them alone, at any time."""
    signalled = (run.stopping or "").startswith("signal")
    wanted = 0.0 if run.stopping is None else 2.0 if signalled else 1.0
    if run.fabric.world_size > 1:
        found = run.fabric.all_reduce(torch.tensor(wanted, device=run.fabric.device), reduce_op="max")
        wanted = float(cast("Tensor", found))
    run.ending = wanted > 0
    if run.ending:
        run.stop("signal of another process" if wanted > 1 else "asked for by another process")


def _tell(run: Run, stage: TrainStage, place: tuple[int, int], loss: float, record: EpochRecord | None = None) -> None:
    """Say where the epoch is: at which batch, of how many."""
    progress = TrainProgress(
        stage=stage,
        epoch=run.state.epoch + 1 if record is None else record.epoch,
        epochs=run.settings.epochs,
        iteration=place[0],
        iterations=place[1],
        loss=loss,
        record=record,
    )
    for hook in run.hooks:
        hook.on_progress(run, progress)
