"""One epoch: steps over training batches, then validation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from csc_data.errors import CscError
from csc_data.loader import Dataloaders
from csc_train.network import fit_output
from csc_train.settings import TrainSettings
from csc_train.training.logbook import Logbook
from csc_train.training.losses import KnownVoxelLoss, Loss
from csc_train.training.metrics import OverlapCounts
from csc_train.training.results import EpochRecord, TrainCallback, TrainProgress, TrainStage, ValidationScores
from csc_train.training.run_state import RunState


class DivergedError(CscError, ArithmeticError):
    """The loss became infinite or NaN."""


@dataclass(kw_only=True)
class EpochLoop:
    """What an epoch needs.

    Attributes
    ----------
    network, stepper
        Network and optimizer as Fabric wrapped them.
    """

    settings: TrainSettings
    fabric: Fabric
    state: RunState
    network: Any
    stepper: Any
    loaders: Dataloaders
    criterion: KnownVoxelLoss
    waited: float = field(default=0.0, init=False)

    def run(self, epoch: int, logbook: Logbook, progress: TrainCallback) -> EpochRecord:
        """Train and validate one epoch, numbered from 1.

        Raises
        ------
        DivergedError
            If the loss becomes infinite or NaN.
        """
        started = time.perf_counter()
        self.waited = 0.0
        loss = self._train(epoch, logbook, progress)
        validation = self._validate(epoch, progress)
        return EpochRecord(
            epoch=epoch,
            loss=loss,
            learning_rate=self.state.step_sizes.learning_rate,
            validation=validation,
            seconds=time.perf_counter() - started,
            loading_seconds=self.waited,
        )

    def _train(self, epoch: int, logbook: Logbook, progress: TrainCallback) -> float:
        settings, total, known = self.settings, 0.0, 0
        self.network.train()
        self.loaders.train.set_epoch(epoch - 1)
        count = len(self.loaders.train)
        for iteration, batch in enumerate(self._timed(self.loaders.train), start=1):
            group_start = (iteration - 1) // settings.gradient_accumulation_steps * settings.gradient_accumulation_steps
            group = min(settings.gradient_accumulation_steps, count - group_start)
            loss = self._step(batch, group, last=iteration == group_start + group)
            value = float(loss.value.detach())
            if not math.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} in epoch {epoch}, batch {iteration}; "
                    "try a smaller learning_rate, max_grad_norm, or precision '32-true'"
                )
            total, known = total + value * loss.known, known + loss.known
            logbook.batch((epoch - 1) * count + iteration, value)
            progress(self._position("train", epoch, iteration, count, value))
        total, known = self._sum(total, known)
        return total / known if known else math.nan

    def _step(self, batch: dict[str, Tensor], group: int, *, last: bool) -> Loss:
        """Take in one batch of a group; the last one moves the weights."""
        with self.fabric.no_backward_sync(self.network, enabled=not last):
            logits = fit_output(self.network(batch["input"]), batch["output"])
            loss: Loss = self.criterion(logits, batch["output"])
            self.fabric.backward(loss.value / group)
        if last:
            if self.settings.max_grad_norm is not None:
                self.fabric.clip_gradients(self.network, self.stepper, max_norm=self.settings.max_grad_norm)
            self.stepper.step()
            self.stepper.zero_grad()
            self.state.step_sizes.after_step()
            if self.state.average:
                self.state.average.update(self.state.network)
        return loss

    @torch.no_grad()
    def _validate(self, epoch: int, progress: TrainCallback) -> ValidationScores | None:
        loader = self.loaders.validation
        if loader is None:
            return None
        # The network itself, not its wrapper: processes may have different numbers of batches.
        network = self.state.evaluated
        training = network.training
        network.eval()
        counts = OverlapCounts(len(self.settings.classes), self.fabric.device)
        limit, started = self.state.validation_batches, time.perf_counter()
        total = min(len(loader), limit or len(loader))
        done = 0
        for done, batch in enumerate(self._timed(islice(loader, total)), start=1):
            with self.fabric.autocast():
                logits = fit_output(network(batch["input"]), batch["output"])
            loss: Loss = self.criterion(logits.float(), batch["output"])
            counts.add(logits, batch["output"], float(loss.value), loss.known)
            progress(self._position("validate", epoch, done, total, float(loss.value)))
            seconds = self.settings.validation_time_limit
            if limit is None and seconds is not None and time.perf_counter() - started > seconds:
                break
        if self.settings.validation_time_limit is not None and limit is None:
            self.state.validation_batches = done
        network.train(training)
        self._add_up(counts)
        return counts.scores(self.settings.classes)

    def _add_up(self, counts: OverlapCounts) -> None:
        """Add up the counts of all processes."""
        if self.fabric.world_size > 1:
            counts.counts = cast("Tensor", self.fabric.all_reduce(counts.counts, reduce_op="sum"))
        counts.loss, counts.known = self._sum(counts.loss, counts.known)

    def _sum(self, total: float, known: int) -> tuple[float, int]:
        """Add up a sum and a count over all processes."""
        if self.fabric.world_size == 1:
            return total, known
        pair = torch.tensor([total, float(known)], dtype=torch.float64, device=self.fabric.device)
        sums = cast("Tensor", self.fabric.all_reduce(pair, reduce_op="sum"))
        return float(sums[0]), int(sums[1])

    def _timed(self, batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """Bring batches to the device, and add up how long they were waited for."""
        iterator = iter(batches)
        while True:
            started = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield self.fabric.to_device(batch)

    def _position(self, stage: TrainStage, epoch: int, iteration: int, iterations: int, loss: float) -> TrainProgress:
        """Return where the epoch is, for the one who waits."""
        epochs = self.settings.epochs
        return TrainProgress(
            stage=stage, epoch=epoch, epochs=epochs, iteration=iteration, iterations=iterations, loss=loss
        )
