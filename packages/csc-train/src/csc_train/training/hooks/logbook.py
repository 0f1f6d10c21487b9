"""TensorBoard logs of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psutil
import torch

from csc_train.logs.event_files import EventWriter, scalar
from csc_train.training.hooks.logs_folder import batches_done, logs_folder, prepare_logs
from csc_train.training.results import EpochRecord, StepRecord
from csc_train.training.run import End, Hook, Run


class Logbook(Hook):
    """Writes points for TensorBoard, each over the number of batches so far, in all epochs together.

    For each step ``loss``, ``lr``, ``gradient_norm`` (before clipping, where gradients are clipped),
    ``samples_per_second`` and ``data_wait`` (the share of the time that batches were waited for). For each epoch
    ``validation`` (the loss), ``validation_NAME`` for each metric and ``validation_NAME/CLASS`` for each class, and
    ``memory/process_gb`` and ``memory/device_gb``.

    It comes before all other hooks that write: it brings the folder to where the run is. And before those that save:
    what is logged is on the disk when a checkpoint is, so that a resumed run finds each point once.
    """

    def __init__(self) -> None:
        self._writer: EventWriter | None = None

    def on_start(self, run: Run) -> None:
        """Take out what was logged after the checkpoint, or set the logs of another run aside."""
        if run.speaks:
            prepare_logs(run)
            done = batches_done(run)
            self._writer = EventWriter(logs_folder(run.settings), first_step=done + 1 if done else 0)

    def on_step(self, run: Run, step: StepRecord) -> None:
        """Log a step."""
        if self._writer is None:
            return
        seconds = max(step.seconds + step.waited, 1e-9)
        values = {
            "loss": step.loss,
            "lr": step.learning_rate,
            "samples_per_second": step.samples / seconds,
            "data_wait": step.waited / seconds,
        }
        if step.gradient_norm is not None:
            values["gradient_norm"] = step.gradient_norm
        self._write(step.step, values)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """Log an epoch."""
        values = {f"memory/{name}": value for name, value in memory_in_use(run.fabric.device).items()}
        if record.validation is not None:
            values["validation"] = record.validation.loss
            values.update({f"validation_{name}": value for name, value in record.validation.values.items()})
        self._write(batches_done(run), values)

    def write(self, step: int, values: Iterable[Any]) -> None:
        """Write what else is to be seen, such as images; nothing but in the process that writes."""
        if self._writer is not None:
            self._writer.write(step, values)

    def on_end(self, run: Run, end: End) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        # NaN is a score that does not exist: of a class that is neither there nor predicted.
        self.write(step, [scalar(tag, value) for tag, value in values.items() if value == value])


def memory_in_use(device: torch.device) -> dict[str, float]:
    """Return GB (1e9 bytes) that this process has in memory, and the most that it had on its device so far.

    Examples
    --------
    >>> import torch
    >>> list(memory_in_use(torch.device("cpu")))
    ['process_gb']
    """
    found = {"process_gb": psutil.Process().memory_info().rss / 1e9}
    if device.type == "cuda":
        found["device_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    elif device.type == "mps":
        found["device_gb"] = torch.mps.driver_allocated_memory() / 1e9
    return found
