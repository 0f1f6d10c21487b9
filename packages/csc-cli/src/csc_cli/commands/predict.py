"""``csc predict``: what a network says about the test crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import say
from csc_cli.options import config_option, existing_option, parse_names
from csc_data.wording import table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_train.prediction.results import CropPrediction


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@click.option(
    "-c",
    "--crops",
    metavar="IDS",
    callback=parse_names,
    help="Test crops, separated by commas (557 or crop557), or `validation` for those of the datasplit [default: all].",
)
@click.option("--checkpoint", metavar="WHICH", help="best, latest, untrained, or a file [default: what CONFIG says].")
@click.option("--device", help="cuda, mps or cpu [default: the first of them that is there].")
@existing_option
@config_option
def predict(experiment: str, config: Config, **options: Any) -> None:
    """Predict the test crops with the network of CONFIG: an experiment file (.py, .toml), a checkpoint (.pth), or
    published weights by name (`csc models pretrained`).

    Finished blocks are recorded: a run that was killed goes on where it stopped. What `--crops validation` predicts is
    scored by `csc evaluate --datasplit`.
    """
    import csc_train
    from csc_cli.stages.prediction import block_reporter, describe_prediction
    from csc_cli.stages.weights import fetch_weights, is_published

    if is_published(experiment):
        fetch_weights(experiment)
    with block_reporter() as report:
        result = csc_train.predict(experiment, config=config, progress=report, **options)
    headers = ("crop", "voxels", "blocks", "of them before", "seconds")
    say(table(headers, [_row(crop) for crop in result.crops], indent="  "))
    source = f"with {result.checkpoint}" if result.checkpoint else "with random weights"
    say(f"predicted {describe_prediction(result)} {source}: in {config.root / 'predictions'}")
    say("next: csc process CONFIG")


def _row(crop: CropPrediction) -> Sequence[object]:
    shape = "x".join(map(str, crop.shape))
    return f"{crop.dataset}/{crop.crop}", shape, crop.blocks, crop.resumed_blocks, f"{crop.seconds:.1f}"
