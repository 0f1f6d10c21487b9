"""``csc process``: from predictions to masks and instances."""

from __future__ import annotations

import click

from csc_cli.options import crops_option, data_option, existing_option, overwrite_option, split_names


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@crops_option
@existing_option
@overwrite_option
@data_option
def process(experiment: str, crops: str | None, existing: str, overwrite: bool, data: str | None) -> None:
    """Post-process predictions as the experiment file CONFIG says: thresholds, small objects, instances."""
    from csc_cli.stages import process_crops
    from csc_data.config.user_config import load_config

    process_crops(
        load_config(data=data), experiment, crops=split_names(crops), existing="overwrite" if overwrite else existing
    )
