"""Prediction of test crops, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from csc_cli.console import plural, progress_bar, say, table

if TYPE_CHECKING:
    from csc_data.blocks import Existing
    from csc_data.config.user_config import Config
    from csc_train.prediction.results import PredictCallback, PredictProgress, PredictResult


def predict_crops(
    config: Config, experiment: str, *, crops: Sequence[str] | None = None, existing: str = "resume", **overrides: Any
) -> PredictResult:
    """Predict test crops as an experiment file (or a checkpoint) says, and tell what was written."""
    from csc_cli.stages.weights import fetch_weights, is_published
    from csc_train import predict

    if is_published(experiment):
        fetch_weights(experiment)
    with block_reporter() as report:
        result = predict(
            experiment,
            config=config,
            crops=crops,
            existing=cast("Existing", existing),
            progress=report,
            **overrides,
        )
    rows = [
        (
            f"{crop.dataset}/{crop.crop}",
            "x".join(map(str, crop.shape)),
            crop.blocks,
            crop.resumed_blocks,
            f"{crop.seconds:.1f}",
        )
        for crop in result.crops
    ]
    say(table(["crop", "voxels", "blocks", "of them before", "seconds"], rows))
    source = f"with {result.checkpoint}" if result.checkpoint else "with random weights"
    say(f"predicted {describe_prediction(result)} {source}: in {config.root / 'predictions'}")
    say("next: csc process CONFIG")
    return result


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
