"""``csc fetch-data``: the challenge's data, from its bucket into the data folder."""

from __future__ import annotations

import click

from csc_cli.commands.fetch_data.padding import parse_padding
from csc_cli.completing import class_names, crop_names, dataset_names, several_of
from csc_cli.options import json_option, split_names


@click.command("fetch-data")
@click.option(
    "-c",
    "--crops",
    default="all",
    show_default=True,
    metavar="WHICH",
    shell_complete=several_of(crop_names("all", "train", "test")),
    help="all, train (the annotated ones), test, or ids and patterns, separated by commas: 234,crop235,'jrc_hela-2/*'.",
)
@click.option(
    "-ds",
    "--datasets",
    metavar="NAMES",
    shell_complete=several_of(dataset_names),
    help="Only these data sets (names or patterns) [default: all].",
)
@click.option(
    "--classes",
    metavar="NAMES",
    shell_complete=several_of(class_names),
    help="Only these label arrays [default: all].",
)
@click.option(
    "-p",
    "--raw-padding",
    default="0",
    show_default=True,
    metavar="VOXELS|auto",
    callback=parse_padding,
    help="Voxels of raw around each crop, at each level in voxels of that level; auto: what patches of --config need.",
)
@click.option(
    "--config",
    "experiment",
    metavar="CONFIG",
    type=click.Path(),
    help="The experiment file of --raw-padding auto, as for `csc train`.",
)
@click.option(
    "-all-res",
    "--fetch-all-em-resolutions",
    is_flag=True,
    help="All levels of the raw, also those finer than the annotation: tens to hundreds of GB.",
)
@click.option(
    "-d",
    "--dest",
    "--data",
    "dest",
    metavar="DIR",
    help="Data folder [default: CSC_DATA, else `data` of `csc config`, else ./data].",
)
@click.option(
    "-m",
    "--access-mode",
    type=click.Choice(["append", "overwrite"]),
    default="append",
    show_default=True,
    help="Fetch what is not there, or all of it anew.",
)
@click.option(
    "-w",
    "--num-workers",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    envvar="CSC_FETCH_DATA_NUM_WORKERS",
    help="Requests at a time; fewer on a slow line.",
)
@click.option(
    "-b",
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Files that a worker takes at a time.",
)
@click.option("--zip", "use_zip", is_flag=True, help="Fetch the organisers' archive of all crops and unpack it.")
@click.option("--remove-zip", is_flag=True, help="Delete the archive when all of it is unpacked.")
@click.option("--dry-run", is_flag=True, help="Show what would be fetched, crop by crop; write nothing.")
@click.option("--checksum", is_flag=True, help="Compare what is there by content, not by size and date alone.")
@click.option("--refresh", is_flag=True, help="Read the organisers' lists of crops again first.")
@click.option("--relist", is_flag=True, help="List the bucket anew, though there is a listing of the last 24 hours.")
@click.option(
    "--bucket", metavar="NAME", help="Another bucket, of the same layout [default: `bucket` of `csc config`]."
)
@click.option(
    "--endpoint", metavar="URL", help="Another S3 service [default: `endpoint` of `csc config`, else Amazon's]."
)
@json_option
def fetch_data(
    crops: str,
    datasets: str | None,
    classes: str | None,
    raw_padding: int | None,
    experiment: str | None,
    fetch_all_em_resolutions: bool,
    dest: str | None,
    access_mode: str,
    num_workers: int,
    batch_size: int,
    use_zip: bool,
    remove_zip: bool,
    dry_run: bool,
    checksum: bool,
    refresh: bool,
    relist: bool,
    bucket: str | None,
    endpoint: str | None,
) -> None:
    """Fetch the labels of crops, and the raw around them, from the challenge's public bucket.

    Nothing is fetched before it is sure that all of it fits on the disk. A run that was stopped, also by force, goes
    on where it was when it is started again; what is there is not fetched twice. Without options this fetches all
    crops, with the levels of raw that match their annotation (see --dry-run for the size).
    """
    from dataclasses import replace
    from typing import cast

    from csc_cli.commands.fetch_data.padding import find_reach
    from csc_cli.commands.fetch_data.running import fetch_crops, fetch_zip, show_crops
    from csc_data.config.user_config import load_config
    from csc_data.fetching import FetchOptions
    from csc_data.fetching.plan import AccessMode

    if remove_zip and not use_zip:
        raise click.UsageError("--remove-zip goes with --zip")
    if (raw_padding is None) != (experiment is not None):
        raise click.UsageError("--raw-padding auto and --config CONFIG go together")
    config = load_config(data=dest)
    config = replace(config, bucket=bucket or config.bucket, endpoint=endpoint or config.endpoint)
    options = FetchOptions(
        crops=split_names(crops) or [],
        datasets=split_names(datasets),
        classes=split_names(classes),
        raw_padding=raw_padding or 0,
        raw_reach=find_reach(experiment) if experiment else None,
        all_resolutions=fetch_all_em_resolutions,
        access_mode=cast("AccessMode", access_mode),
        workers=num_workers,
        batch_size=batch_size,
        checksums=checksum,
        relist=relist or refresh,
    )
    if refresh:
        from csc_cli.stages.refreshing import refresh_lists

        refresh_lists()
    if use_zip:
        fetch_zip(config, options, remove=remove_zip, dry_run=dry_run)
    elif dry_run:
        show_crops(config, options)
    else:
        fetch_crops(config, options)
