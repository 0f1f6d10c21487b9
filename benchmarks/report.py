"""CPU seconds and size of csc-eval's page of many labels, against its bar; scoring is not counted.

    python benchmarks/report.py --data FOLDER [--labels 640] [--raw]

Labels are 128^3 voxels of some forty vesicles, predicted with lost, split, merged and false ones; the five worst of
each are shown. Eight different crops are written, the others are links to them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from eval_cases import vesicle_crop

import csc_eval
from csc_data.formats.writing import create_array
from csc_eval.report import ReportOptions, write_report

DIFFERENT = 8
BAR_SECONDS, BAR_MEGABYTES = 10.0, 20.0


def write_labels(folder: Path, count: int) -> tuple[Path, Path]:
    """Write a submission and its truth, unless they are there; returns both paths."""
    stores = folder / "submission.zarr", folder / "ground_truth.zarr"
    rng = np.random.default_rng(0)
    for number in range(count):
        if number >= DIFFERENT:
            for store in (*stores, folder / "raw"):
                link = store / f"crop{number}"
                if not link.is_symlink():
                    link.symlink_to(f"crop{number % DIFFERENT}", target_is_directory=True)
            continue
        if (folder / "raw" / f"crop{number}").exists():
            continue
        (label,) = vesicle_crop(number, 128, 40, (5, 11), 5, (8.0, 8.0, 8.0))
        raw = np.clip(160 - 60.0 * (label.truth > 0) + rng.normal(0, 12, label.truth.shape), 0, 255).astype("u1")
        for place, values in (
            (stores[0] / f"crop{number}" / "ves", label.prediction),
            (stores[1] / f"crop{number}" / "ves", label.truth),
            (folder / "raw" / f"crop{number}" / "s0", raw),
        ):
            place_of = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
            shape, dtype = values.shape, values.dtype
            array = create_array(place, shape=shape, dtype=dtype, chunks=(64,) * 3, attributes=place_of, overwrite=True)
            array[:] = values
    return stores


def main() -> None:
    """Print what the page takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="where the labels are kept [default: a temporary folder]")
    parser.add_argument("--labels", type=int, default=640)
    parser.add_argument("--raw", action="store_true", help="show raw behind the labels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        submission, truth = write_labels(folder, options.labels)
        result = csc_eval.score_submission(submission, truth)
        raw = {crop: str(folder / "raw" / crop / "s0") for crop in result.crops} if options.raw else {}
        began = time.process_time()
        page = write_report(
            result, folder / "report.html", submission=submission, truth=truth, options=ReportOptions(raw=raw)
        )
        seconds, megabytes = time.process_time() - began, page.stat().st_size / 1e6
        took = f"{seconds:.1f} CPU s (bar {BAR_SECONDS:g}), {megabytes:.1f} MB ({BAR_MEGABYTES:g})"
        print(f"{options.labels} labels: {took}")


if __name__ == "__main__":
    main()
