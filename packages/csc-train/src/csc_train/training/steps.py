"""Steps of the optimizer, each over one batch or several; the gradient is that of all their voxels together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from csc_data.errors import CscError
from csc_data.loader.places import PLACE_NAMES
from csc_train.sharding import whole_norm
from csc_train.training.loaders import Batch
from csc_train.training.results import StepRecord
from csc_train.training.run import Run


class DivergedError(CscError, ArithmeticError):
    """The loss became infinite or NaN."""


def timed(run: Run, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Bring batches to the device, and add up how long they were waited for."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        try:
            batch = next(iterator, None)
        except RuntimeError:
            # A signal to the whole group has ended the workers, too.
            if run.stopping is None:
                raise
            return
        run.waited += time.perf_counter() - started
        if batch is None:
            return
        # Places stay: they are looked up rather than computed with, and not every device knows float64.
        yield {name: t if name in PLACE_NAMES else run.fabric.to_device(t) for name, t in batch.items()}


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield batches in groups of a size; the last group may be smaller.

    Examples
    --------
    >>> [len(group) for group in grouped(iter([{}, {}, {}]), 2)]
    [2, 1]
    """
    while group := list(islice(batches, size)):
        yield group


def take_step(run: Run, group: Sequence[Batch]) -> StepRecord:
    """Move the weights once.

    The weights of the losses, such as known voxels, are counted over all batches of the group and all processes before
    anything is computed: each batch's sum is divided by them, so the gradient is that of one large batch.

    Raises
    ------
    DivergedError
        If the loss becomes infinite or NaN; the weights are not moved.
    """
    started = time.perf_counter()
    waited, run.waited_before = run.waited - run.waited_before, run.waited
    settings, fabric, objective = run.settings, run.fabric, run.objective
    world = fabric.world_size
    each = [objective.weights(batch) for batch in group]
    weights = _summed(run, torch.stack(each).sum(0))
    sums = torch.zeros_like(weights)
    for number, batch in enumerate(group, start=1):
        # Gradients of processes are averaged where they are to be added.
        with fabric.no_backward_sync(run.network, enabled=number < len(group)):
            losses = objective.losses(run.network(run.network_input(batch)), batch)
            fabric.backward(objective.total(losses, weights) * world)
        sums += losses.detach().to(sums.dtype)
    sums = _summed(run, sums)
    loss = float(objective.total(sums, weights))
    if not math.isfinite(loss):
        raise DivergedError(_diverged(run, loss, group))
    norm = _clip(run) if settings.max_grad_norm is not None else None
    run.stepper.step()
    run.stepper.zero_grad()
    state = run.state
    rate = state.step_sizes.learning_rate
    state.step_sizes.after_step()
    if state.average:
        state.average.update(state.network)
    state.take_in(len(group), sums, weights)
    now = time.perf_counter()
    return StepRecord(
        epoch=state.epoch + 1,
        iteration=state.iteration,
        step=state.batches,
        loss=loss,
        learning_rate=rate,
        gradient_norm=norm,
        samples=world * sum(len(next(iter(batch.values()))) for batch in group),
        seconds=now - started,
        waited=waited,
    )


def _clip(run: Run) -> float:
    assert run.settings.max_grad_norm is not None
    # Of half precision the first gradients are often infinite: their step is left out, and later ones are scaled less.
    scaled = getattr(run.fabric.strategy.precision, "scaler", None) is not None
    limit = run.settings.max_grad_norm
    norm = run.fabric.clip_gradients(run.network, run.stepper, max_norm=limit, error_if_nonfinite=not scaled)
    return math.nan if norm is None else whole_norm(norm)


def _summed(run: Run, values: Tensor) -> Tensor:
    """Add values up over all processes."""
    if run.fabric.world_size == 1:
        return values
    summed: Tensor = run.fabric.all_reduce(values.to(run.fabric.device), reduce_op="sum")  # type: ignore[assignment]
    return summed


def _diverged(run: Run, loss: float, group: Sequence[Batch]) -> str:
    """Return what to say of a loss that is not a number: where it happened, and what to try."""
    patches = run.loaders.train.patches
    places = []
    for batch in group:
        if patches is not None and "place_crop" in batch:
            for crop, centre in zip(batch["place_crop"].tolist(), batch["place_centre_nm"].tolist(), strict=True):
                places.append(f"{patches.reader.crops[crop].name} at ({', '.join(f'{c:.0f}' for c in centre)}) nm")
    where = f" ({'; '.join(places)})" if places else ""
    last = run.state.iteration + len(group)
    return (
        f"the loss is {loss} in epoch {run.state.epoch + 1}, batch {last}{where}; "
        "try a smaller learning_rate, max_grad_norm, or precision '32-true'"
    )
