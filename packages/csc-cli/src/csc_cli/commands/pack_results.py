"""``csc pack-results``: from processed volumes to a submission."""

from __future__ import annotations

import click

from csc_cli.options import crops_option, data_option, existing_option, overwrite_option, split_names


@click.command()
@click.argument("source", default="processed")
@click.argument("destination", required=False)
@crops_option
@click.option(
    "--as-probabilities",
    type=click.Choice(["refuse", "threshold"]),
    default="refuse",
    show_default=True,
    help="What to do with probabilities: refuse them, or cut them at 0.5.",
)
@click.option("--zip/--no-zip", "make_zip", default=True, show_default=True, help="Also write the zip to upload.")
@existing_option
@overwrite_option
@data_option
def pack_results(
    source: str,
    destination: str | None,
    crops: str | None,
    as_probabilities: str,
    make_zip: bool,
    existing: str,
    overwrite: bool,
    data: str | None,
) -> None:
    """Pack SOURCE (processed, predictions, or a path) into DESTINATION on the grids of the test crops, and zip it.

    DESTINATION is submission.zarr in the data folder unless given.
    """
    from csc_cli.stages import pack_crops
    from csc_data.config.user_config import load_config

    pack_crops(
        load_config(data=data),
        source=source,
        destination=destination,
        crops=split_names(crops),
        as_probabilities=as_probabilities,
        make_zip=make_zip,
        existing="overwrite" if overwrite else existing,
    )
