"""What is shown while crops are predicted, and how much it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from csc_cli.console import progress_bar
from csc_data.wording import plural

if TYPE_CHECKING:
    from csc_train.prediction.results import PredictCallback, PredictProgress, PredictResult


def describe_prediction(result: PredictResult) -> str:
    """Write how much was predicted."""
    voxels = sum(math.prod(crop.shape) for crop in result.crops) / 1e6
    return f"{plural(len(result.crops), 'crop')} of {voxels:.1f} million voxels, {plural(len(result.classes), 'class')}"


@contextmanager
def block_reporter() -> Iterator[PredictCallback]:
    """Yield a callback that shows a bar over the blocks of each crop on a terminal."""
    with progress_bar("blocks") as bar:

        def report(state: PredictProgress) -> None:
            bar(state.done, state.blocks)

        yield report
