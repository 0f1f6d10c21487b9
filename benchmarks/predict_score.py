"""What blending brings: the demo's score by one checkpoint, predicted with more and less overlap and surroundings.

Run it as ``python benchmarks/predict_score.py --demo DIR``. DIR is a folder of `csc demo`, or becomes one, which takes
some minutes of training. Its checkpoint predicts the test crops in each way; these are processed, packed and scored as
the demo does it, in a temporary folder. Passes through the network, and the ratio of jumps at faces of windows to those
near them, are told beside the scores.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from predict import seam_ratio, told

from csc_cli.commands.demo.run import DemoOptions, run_demo
from csc_data.config.user_config import Config, load_config
from csc_data.volumes import open_volume
from csc_eval import score_submission
from csc_submit import pack_results, process
from csc_train import PredictPlan, predict
from csc_train.network import patch_shape
from csc_train.settings import read_train_settings

PLACES = ("predictions", "processed", "submission")


def ways(edge: int) -> dict[str, Mapping[str, Any]]:
    """Return the ways to predict, for a patch of so many voxels."""
    none, eighth = (0, 0, 0), (edge // 8,) * 3
    return {
        "side by side": {"overlap": 0.0, "halo": none},
        "side by side, without an eighth": {"overlap": 0.0, "halo": eighth},
        "overlap 0.25 within the crop": {"overlap": 0.25, "halo": none},
        "overlap 0.5 within the crop": {"overlap": 0.5, "halo": none},
        "overlap 0.25 without an eighth": {"overlap": 0.25, "halo": eighth},
        "the default": {},
        "overlap 0.5": {"overlap": 0.5},
    }


def score(experiment: Path, config: Config, options: Mapping[str, Any]) -> tuple[float, int, float]:
    """Return the score of one way, its passes, and its jumps at faces of windows."""
    plans: list[PredictPlan] = []
    predict(experiment, config=config, on_plan=plans.append, **options)
    process(experiment, config=config)
    pack_results(config=config)
    result = score_submission(config.path("submission").with_suffix(".zip"), config.path("ground_truth"))
    seams = []
    for work in plans[0].works:
        values = [np.asarray(open_volume(path).levels[0].array[...]) for group in work.groups for path in group.folders]
        seams.append(seam_ratio(np.stack(values), work.windows.place(work.grid.shape)[0]))
    return result.combined.overall_score, plans[0].estimate.passes, float(np.mean(seams))


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="another than the demo's best")
    parser.add_argument("--only", help="those whose names begin so")
    given = parser.parse_args()
    experiment = given.demo / "train_3D.py"
    if not experiment.exists():
        run_demo(DemoOptions(out=given.demo, quick=False, seed=given.seed))
    config = load_config(data=given.demo)
    scores: dict[str, float] = {}
    for name, options in ways(patch_shape(read_train_settings(experiment)).target.shape[0]).items():
        if given.checkpoint:
            options = {"checkpoint": given.checkpoint, **options}
        if given.only and not name.startswith(given.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            moved = {place: f"{folder}/{getattr(config, place)}" for place in PLACES}
            scores[name], passes, seams = score(experiment, dataclasses.replace(config, **moved), options)
        ahead = scores[name] - scores.get("side by side", scores[name])
        verdict = f"{told(ahead >= 0.01, '+0.01')}; seams {seams:.3f} {told(seams <= 1.02, '1.02')}"
        print(f"{name}: {scores[name]:.4f}, {ahead:+.4f} {verdict}; {passes} passes", flush=True)


if __name__ == "__main__":
    main()
