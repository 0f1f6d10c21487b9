"""Counting classes, and telling the counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from csc_cli.console import say, table

if TYPE_CHECKING:
    from csc_data.splits.search import CropTemplates


def count_classes(
    where: CropTemplates,
    classes: Sequence[str] | None,
    *,
    datasets: Sequence[str],
    crops: Sequence[str],
    all_levels: bool,
    csv_path: str | None,
) -> None:
    """Count crops and voxels by data set, class and scale; say them, and write them where asked."""
    from csc_data.splits.class_counts import count_by_dataset
    from csc_data.storage.atomic import replace_text

    counts, left_out = count_by_dataset(where, classes, datasets=datasets, crops=crops, all_levels=all_levels)
    headers = ("data set", "class", "voxel size (nm)", "crops", "with the class", "voxels present", "voxels annotated")
    rows = [
        (
            count.dataset,
            count.class_name,
            " ".join(f"{size:g}" for size in count.voxel_size),
            count.crops,
            count.crops_present,
            f"{count.present:,}",
            f"{count.size:,}",
        )
        for count in counts
    ]
    say(table(headers, rows, indent=""))
    for problem in left_out:
        say(f"left out: {problem}")
    if csv_path:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["dataset", "class", "voxel_size", "crops", "crops_present", "voxels_present", "voxels"])
        writer.writerows((*row[:5], count.present, count.size) for row, count in zip(rows, counts, strict=True))
        replace_text(Path(csv_path), text.getvalue())
        say(f"wrote {csv_path}")
