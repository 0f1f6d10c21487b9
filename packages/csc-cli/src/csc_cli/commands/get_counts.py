"""``csc get-counts``: how much of each class there is."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cli.console import answer, say
from csc_cli.options import CropSearch, classes_option, config_option, json_option, search_options
from csc_data.wording import table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.dataset_counts import ClassCount

HEADERS = ("data set", "class", "voxel size (nm)", "crops", "with the class", "voxels present", "voxels annotated")
CSV_COLUMNS = ("dataset", "class", "voxel_size", "crops", "crops_present", "voxels_present", "voxels")


@click.command()
@classes_option
@search_options
@click.option("--finest", is_flag=True, help="Count at the finest scale of each annotation only.")
@click.option("-cp", "--csv-path", metavar="FILE", help="Write the table as CSV, too.")
@json_option
@config_option
def get_counts(
    classes: list[str] | None, search: CropSearch, finest: bool, csv_path: str | None, config: Config
) -> None:
    """Count crops and voxels of each class, by data set and scale.

    Voxels of the challenge's annotations are taken from their metadata, where these are counted already; others are
    read.
    """
    from csc_data.challenge import load_classes
    from csc_data.splits.dataset_counts import CountOptions, count_by_dataset
    from csc_data.storage.atomic import replace_text

    options = CountOptions(
        classes=classes,
        datasets=search.datasets,
        crops=search.crops,
        all_levels=not finest,
        table=load_classes(config),
    )
    counts, left_out = count_by_dataset(search.templates(config), options)
    answer({"counts": counts, "left_out": left_out})
    say(table(HEADERS, [_row(count, "{:,}") for count in counts]))
    for problem in left_out:
        say(f"left out: {problem}")
    if csv_path:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([CSV_COLUMNS, *(_row(count, "{}") for count in counts)])
        replace_text(Path(csv_path), text.getvalue())
        say(f"wrote {csv_path}")


def _row(count: ClassCount, voxels: str) -> Sequence[object]:
    size = " ".join(f"{length:g}" for length in count.voxel_size)
    numbers = (voxels.format(count.present), voxels.format(count.size))
    return (count.dataset, count.class_name, size, count.crops, count.crops_present, *numbers)
