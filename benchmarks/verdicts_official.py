"""Runs the official scorer over the cases of `verdicts.py`; started by it, in the official scorer's own environment.

``python verdicts_official.py FOLDER OUT``: each case in a process of its own, as some end theirs.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update(MAX_WORKERS="1", PER_INSTANCE_THREADS="2")

import cc3d  # noqa: F401 - what each process would import anew
import ortools.graph.python.min_cost_flow  # noqa: F401
import psutil  # noqa: F401
import skimage.transform  # noqa: F401
from cellmap_segmentation_challenge.utils import crops
from cellmap_segmentation_challenge.utils.eval_utils import submission as scoring

TIMEOUT = 180
COUNTS = ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff")
OVERALL = ("overall_instance_score", "overall_semantic_score", "overall_score")


def score(folder: Path) -> dict[str, Any]:
    """Score one case; returns its outcome."""
    logging.disable(logging.CRITICAL)
    where = json.loads((folder / "case.json").read_text())
    rows = (folder / "test_crop_manifest.csv").read_text().splitlines()[1:]
    listed = [crops.TestCropRow.from_csv_row(row) for row in rows]
    crops.TEST_CROPS_DICT.clear()
    crops.TEST_CROPS_DICT.update({(row.id, row.class_label): row for row in listed})
    truth, result = folder / where["truth"], folder / "official.json"
    stages: list[str] = []
    discover = scoring._discover_volumes

    def discovered(*arguments: Any) -> Any:
        found = discover(*arguments)
        stages.append("volumes found")
        return found

    scoring._discover_volumes = discovered
    try:
        scoring.score_submission(str(folder / where["submission"]), str(result), str(truth))
    except Exception as error:  # noqa: BLE001 - whatever it ends with is the outcome
        kind = "ended" if stages else "refused"
        return {"kind": kind, "why": f"{type(error).__name__}: {str(error).replace(str(folder), '')}"[:160]}
    whole = json.loads(result.with_name("official_extended.json").read_text())
    labels = {
        f"{crop}/{name}": [*(score.get(key) for key in COUNTS), score["status"]]
        for crop, entries in whole.items()
        if crop.startswith("crop")
        for name, score in entries.items()
    }
    return {"kind": "scored", "labels": labels, "overall": [whole[key] for key in OVERALL]}


def score_apart(folder: Path) -> dict[str, Any]:
    """Score one case in a process of its own."""
    out = folder / "outcome.json"
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            out.write_text(json.dumps(score(folder)))
        finally:
            os._exit(0)
    end = time.monotonic() + TIMEOUT
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"kind": "hangs", "why": f"for {TIMEOUT} s"}
        time.sleep(0.01)
    return json.loads(out.read_text()) if out.exists() else {"kind": "ended", "why": "the process died"}


def main() -> None:
    """Score all cases of a folder."""
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    outcomes = {}
    gc.freeze()  # the official scorer collects garbage after each step: torch's, too, in each process
    for folder in sorted(path for path in root.iterdir() if (path / "case.json").exists()):
        outcomes[json.loads((folder / "case.json").read_text())["name"]] = score_apart(folder)
        print(f"\r{len(outcomes)} {folder.name}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    out.write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()
