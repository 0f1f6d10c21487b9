"""``csc get-counts``: how much of each class there is."""

from __future__ import annotations

import click

from csc_cli.options import data_option, search_options, split_names


@click.command()
@click.option(
    "-c", "--classes", metavar="NAMES", help="Classes, separated by commas [default: all that are annotated]."
)
@search_options
@click.option("--finest", is_flag=True, help="Count at the finest scale of each annotation only.")
@click.option("-cp", "--csv-path", metavar="FILE", help="Write the table as CSV, too.")
@data_option
def get_counts(
    classes: str | None,
    search_path: str | None,
    raw_name: str | None,
    crop_name: str | None,
    use_s3: bool,
    datasets: str,
    crops: str,
    finest: bool,
    csv_path: str | None,
    data: str | None,
) -> None:
    """Count crops and voxels of each class, by data set and scale.

    Voxels of the challenge's annotations are taken from their metadata, where these are counted already; others are
    read.
    """
    from csc_cli.stages.counting import count_classes
    from csc_cli.stages.crop_places import choose_templates
    from csc_data.config.user_config import load_config

    where = choose_templates(load_config(data=data), search_path, raw_name, crop_name, use_s3=use_s3)
    count_classes(
        where,
        split_names(classes),
        datasets=split_names(datasets) or ("*",),
        crops=split_names(crops) or ("*",),
        all_levels=not finest,
        csv_path=csv_path,
    )
