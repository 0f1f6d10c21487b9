"""What is shown while a network trains: a line an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from csc_cli.console import progress_bar, say

if TYPE_CHECKING:
    from csc_train.training.results import TrainCallback, TrainProgress


@contextmanager
def epoch_reporter() -> Iterator[TrainCallback]:
    """Yield a callback that prints a line an epoch and, on a terminal, shows a bar within it."""
    with progress_bar("epoch") as bar:

        def report(state: TrainProgress) -> None:
            if state.record is None:
                bar(state.iteration, state.iterations)
                return
            say(describe_epoch(state))

        yield report


def describe_epoch(state: TrainProgress) -> str:
    """Write what an epoch brought."""
    record = state.record
    if record is None:
        return ""
    text = f"  epoch {record.epoch}/{state.epochs}: loss {record.loss:.4f}"
    if record.validation is not None:
        text += f", validation loss {record.validation.loss:.4f}, mean IoU {record.validation.iou:.3f}"
    return f"{text} ({record.seconds:.1f} s)"
