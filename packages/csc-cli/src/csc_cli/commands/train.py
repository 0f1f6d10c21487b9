"""``csc train``: fit a network as an experiment file says."""

from __future__ import annotations

import click

from csc_cli.options import data_option


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs in all, instead of the file's.")
@click.option("--device", help="cuda, mps or cpu [default: the first of them that is there].")
@data_option
def train(experiment: str, epochs: int | None, device: str | None, data: str | None) -> None:
    """Train the network of the experiment file CONFIG (.py or .toml).

    A run that was stopped goes on from its latest checkpoint. `csc settings train` lists what CONFIG may say.
    """
    from csc_cli.stages import train_model
    from csc_data.config.user_config import load_config

    train_model(experiment, load_config(data=data), epochs=epochs, device=device)
