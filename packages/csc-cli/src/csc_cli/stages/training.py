"""Training, a line an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from csc_cli.console import plural, progress_bar, say

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_train.training.results import TrainCallback, TrainProgress, TrainResult


def train_model(experiment: str, config: Config, **overrides: Any) -> TrainResult:
    """Train as an experiment file says; options that are None leave the file's value."""
    from csc_train import train

    with first_batches(), epoch_reporter() as report:
        result = train(experiment, config=config, progress=report, **overrides)
    if result.resumed_from and not result.records:
        say(f"nothing to do: {result.resumed_from} is of the last epoch")
        say("next: raise `epochs` to go on, or choose another `model_name` to train anew")
    elif result.records:
        known = result.best_value is not None and result.best_epoch is not None
        best = f", the best of epoch {result.best_epoch}" if known else ""
        count = plural(len(result.records), "epoch")
        say(f"trained {count} in {result.seconds:.0f} s; checkpoint {result.latest_checkpoint}{best}")
        say(f"next: csc predict {experiment}")
    return result


@contextmanager
def first_batches() -> Iterator[None]:
    """Print what the loader logs of its first batches: how much of each class is known and present in them."""
    logger = logging.getLogger("csc_data.loader.batches")
    handler, level = _SayingHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _SayingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


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
