"""``csc predict``: what a network says about the test crops."""

from __future__ import annotations

import click

from csc_cli.options import data_option, existing_option, overwrite_option, split_names


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@click.option(
    "-c",
    "--crops",
    metavar="IDS",
    help="Test crops, separated by commas (557 or crop557), or `validation` for those of the datasplit [default: all].",
)
@click.option("--checkpoint", metavar="WHICH", help="best, latest, untrained, or a file [default: what CONFIG says].")
@click.option("--device", help="cuda, mps or cpu [default: the first of them that is there].")
@existing_option
@overwrite_option
@data_option
def predict(
    experiment: str,
    crops: str | None,
    checkpoint: str | None,
    device: str | None,
    existing: str,
    overwrite: bool,
    data: str | None,
) -> None:
    """Predict the test crops with the network of CONFIG: an experiment file (.py, .toml), a checkpoint (.pth), or
    published weights by name (`csc models pretrained`).

    Finished blocks are recorded: a run that was killed goes on where it stopped. What `--crops validation` predicts is
    scored by `csc evaluate --datasplit`.
    """
    from csc_cli.stages import predict_crops
    from csc_data.config.user_config import load_config

    predict_crops(
        load_config(data=data),
        experiment,
        crops=split_names(crops),
        existing="overwrite" if overwrite else existing,
        checkpoint=checkpoint,
        device=device,
    )
