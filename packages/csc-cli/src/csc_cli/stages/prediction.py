"""What is shown while crops are predicted, and how much it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from csc_cli.console import progress_bar, say
from csc_data.volumes.channels import class_of_channel
from csc_data.wording import format_seconds, plural

if TYPE_CHECKING:
    from csc_train.prediction.results import PredictCallback, PredictProgress, PredictResult


def describe_prediction(result: PredictResult) -> str:
    """Write how much was predicted.

    Examples
    --------
    >>> from csc_train import PredictResult
    >>> describe_prediction(PredictResult(checkpoint=None, classes=(), crops=(), problems=(), seconds=0.0))
    '0 crops of 0.0 million voxels, 0 classes'
    """
    voxels = sum(math.prod(crop.shape) for crop in result.crops) / 1e6
    names = {name for crop in result.crops for name in crop.classes}
    beside = {name for name in names if class_of_channel(name) is not None}
    more = f" and {plural(len(beside), 'array')} beside them" if beside else ""
    classes = plural(len(names - beside), "class")
    return f"{plural(len(result.crops), 'crop')} of {voxels:.1f} million voxels, {classes}{more}"


@contextmanager
def block_reporter() -> Iterator[PredictCallback]:
    """Yield a callback that shows a bar over the blocks of all crops on a terminal, and says once how long it takes."""
    with progress_bar("blocks") as bar:
        said = False

        def report(state: PredictProgress) -> None:
            nonlocal said
            bar(state.done_in_all, state.blocks_in_all)
            if not said and state.seconds_left:
                said = True
                done = f"{state.done_in_all} of {plural(state.blocks_in_all, 'block')}"
                say(f"about {format_seconds(state.seconds_left)} left, after {done}")

        yield report
