"""Write a table of crops in csc-data anew, from the organisers' train_crop_manifest.csv or test_crop_manifest.csv.

python tools/write_crop_table.py train_crop_manifest.csv src/csc_data/challenge/training_crops.csv
python tools/write_crop_table.py test_crop_manifest.csv src/csc_data/challenge/test_crops.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from csc_data.challenge import get_tested_classes
from csc_data.challenge.listed_crops import ALL_TESTED, COLUMNS, ListedCrop, read_listed_crops


def main(source: str, table: str) -> None:
    """Write one row for each crop; crops that the table has already stay in their order, new ones follow."""
    crops = read_listed_crops(source, ListedCrop)
    known = [crop_id for crop_id in read_listed_crops(table, ListedCrop) if crop_id in crops]
    tested = get_tested_classes()
    with Path(table).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for crop in (crops[crop_id] for crop_id in dict.fromkeys([*known, *crops])):
            names = sorted(crop.classes, key=tested.index)
            grid = [
                "[" + ";".join(repr(value).removesuffix(".0") for value in values) + "]"
                for values in (crop.voxel_size, crop.translation, crop.shape)
            ]
            label = ALL_TESTED if len(names) == len(tested) else " ".join(names)
            writer.writerow([crop.id, crop.dataset, label, *grid])


if __name__ == "__main__":
    main(*sys.argv[1:])
