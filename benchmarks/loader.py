"""The loader against others', and against itself with more of everything: the bars it has to meet.

python benchmarks/loader.py [--only TEXT] [--reports works,first,s3,workers] [--data FOLDER] [--divisor N]

Five classes at 8 nm from annotations at 4 nm that have an 8 nm level, in three crops of 400^3 voxels (1.6 um); one
thread and no workers where not said otherwise. Loaders draw with class balance and give collated batches; all read
files that the operating system holds. `warm`: crops are decoded already. `cold`: our cache is emptied before each patch
(cellmap-data has none). Every measurement is a process of its own, so its peak memory is that of the work, imports
included; the least of two is told. The S3 server is that of csc-data's tests, in a process of its own on the same
machine; it is not counted. 288 crops are six, each under 48 names.

MONAI and batchgeneratorsv2 are compared where they are installed: `uv run --with batchgeneratorsv2==0.3.6 --with
monai==1.6.1 python benchmarks/loader.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from loader import measuring, ours, theirs
from loader.measuring import Result, Runner
from loader.reports import REPORTS
from loader.works import ALL_CLASSES_SPLIT, ALL_WORKS, AUGMENTED, FEW_SPLIT, MANY_SPLIT, WORKS

PARTS: dict[str, Callable[..., Result]] = {
    "cellmap": theirs.measure_cellmap,
    "monai": theirs.measure_monai,
    "nnunet": theirs.measure_nnunet,
    "warm": ours.measure_warm,
    "packed": ours.measure_packed,
    "cold": ours.measure_cold,
    "workers": ours.measure_workers,
    "imports": ours.measure_imports,
    "first": ours.measure_first,
    "many": ours.measure_many,
    "all_classes": ours.measure_all_classes,
    "growth": ours.measure_growth,
    "requests": ours.measure_requests,
}
SPLITS = {"many": MANY_SPLIT, "classes": ALL_CLASSES_SPLIT}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only works with this text in their name, such as 64")
    parser.add_argument("--reports", default=",".join(REPORTS), help="which tables, of " + ", ".join(REPORTS))
    parser.add_argument("--data", type=Path, help="folder to keep the volumes in (3 GB), or to find them in")
    parser.add_argument("--divisor", type=int, default=1, help="so many times fewer patches: to try it out")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part, name, *further = arguments.part
        work, divisor = ALL_WORKS[name], arguments.divisor
        work = replace(work, ours=-(-work.ours // divisor), theirs=-(-work.theirs // divisor))
        measuring.tell(PARTS[part](arguments.data, work, *further))
        return
    from loader.volumes import ensure_data  # here, as what it imports is not to count where a part is measured

    reports = arguments.reports.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.data or Path(temporary)).resolve()
        ensure_data(folder, [FEW_SPLIT, *(split for report, split in SPLITS.items() if report in reports)])
        names = [name for name in {**WORKS, **AUGMENTED} if arguments.only in name]
        for report in reports:
            REPORTS[report](Runner(folder=folder, divisor=arguments.divisor), names)


if __name__ == "__main__":
    main()
