"""TensorBoard logs of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csc_train.training.results import EpochRecord


class Logbook:
    """Writes scalars; only the first process of a distributed run does.

    Tags: ``loss`` per batch; ``validation`` (the loss), ``validation_iou``, ``validation_dice``,
    ``validation_iou/{class}`` and ``learning_rate`` per epoch, all over the number of batches so far.

    Parameters
    ----------
    folder : Path
    first_step : int
        The batch that the run begins with; what an earlier run logged from there on is hidden.
    enabled : bool
    """

    def __init__(self, folder: Path, *, first_step: int = 0, enabled: bool = True) -> None:
        self._writer: Any = None
        if enabled:
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def batch(self, step: int, loss: float) -> None:
        """Log a training batch."""
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, step)

    def epoch(self, step: int, record: EpochRecord) -> None:
        """Log an epoch."""
        if self._writer is None:
            return
        self._writer.add_scalar("learning_rate", record.learning_rate, step)
        if record.validation is not None:
            self._writer.add_scalar("validation", record.validation.loss, step)
            self._writer.add_scalar("validation_iou", record.validation.iou, step)
            self._writer.add_scalar("validation_dice", record.validation.dice, step)
            for name, value in record.validation.class_iou.items():
                if value == value:
                    self._writer.add_scalar(f"validation_iou/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
