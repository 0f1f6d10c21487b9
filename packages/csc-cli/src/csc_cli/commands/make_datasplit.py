"""``csc make-datasplit``: which crops train and which validate."""

from __future__ import annotations

import click

from csc_cli.options import data_option, split_names


@click.command()
@click.option(
    "-c", "--classes", metavar="NAMES", help="Classes, separated by commas [default: all that are annotated]."
)
@click.option(
    "-vr", "--validation-prob", type=float, default=0.2, show_default=True, help="Share of crops that validate."
)
@click.option("-cp", "--csv-path", metavar="FILE", help="Where to write [default: datasplit.csv in the data folder].")
@click.option("-dr", "--dry-run", is_flag=True, help="Show the split, write nothing.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which of the equally good splits.")
@click.option("--min-voxels", type=int, default=1, show_default=True, help="Voxels from which a crop has a class.")
@data_option
def make_datasplit(
    classes: str | None,
    validation_prob: float,
    csv_path: str | None,
    dry_run: bool,
    seed: int,
    min_voxels: int,
    data: str | None,
) -> None:
    """Split the annotated crops into training and validation, every class on both sides where it can be."""
    from csc_cli.stages import split_crops
    from csc_data.settings import load_settings

    split_crops(
        load_settings(data=data),
        classes=split_names(classes),
        validation_share=validation_prob,
        seed=seed,
        min_voxels=min_voxels,
        csv_path=csv_path,
        dry_run=dry_run,
    )
