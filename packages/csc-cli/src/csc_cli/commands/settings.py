"""``csc settings``: what an experiment file may say."""

from __future__ import annotations

import click

STAGES = {
    "train": "csc_train.settings:TrainSettings",
    "predict": "csc_train.settings:PredictSettings",
    "process": "csc_submit.settings:ProcessSettings",
}


@click.command()
@click.argument("stage", type=click.Choice(list(STAGES)))
def settings(stage: str) -> None:
    """List what an experiment file may say about a stage: name, default and meaning of each setting."""
    import importlib

    from csc_cli.console import say
    from csc_data.config.experiment import describe_settings

    module, _, name = STAGES[stage].partition(":")
    for row in describe_settings(getattr(importlib.import_module(module), name)):
        say(f"{row.name} = {row.default}\n    {row.doc} [{row.type}]")
