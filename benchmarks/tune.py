"""What `csc tune` gains on crops that it has not seen, against threshold 0.5 without a size filter.

Run it as ``python benchmarks/tune.py --out DIR [--challenges 5] [--seconds 90]``. What is done is kept in DIR and not
done again. Each synthetic challenge has a network of its own, trained for some CPU seconds, 4 crops that train, 7 that
validate and 5 that are scored, at 8 nm and at 5.24 x 4 x 4 nm. What is tuned on the validation crops is scored on the
test crops, as the leaderboard scores; so is what `csc plan` would suggest, from which tuning begins. Bars: the mean
gain is 1 point or more, and none is below -0.5.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

from cpu_budget import fit_to_time
from side_scores import own_places, score_side

from csc_cli.commands.demo.experiment import CLASSES, write_experiment
from csc_data.config.experiment import read_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.geometry import Grid, Shape
from csc_data.splits.split_file import read_datasplit, write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import ChallengePlan, SyntheticCrop, SyntheticDataset, write_challenge
from csc_data.wording import table
from csc_submit import ProcessSettings, TuneResult, tune
from csc_submit.tuning.starting import starting_settings
from csc_train import predict, train
from csc_train.settings import read_train_settings

TRAINING = (1, 2, 11, 12)
"""Numbers of the crops that train; the other annotated ones validate."""


def plan() -> ChallengePlan:
    """Return two data sets of crops side by side; what is not trained on is validated on, or scored."""
    return ChallengePlan(
        datasets=(
            _dataset("jrc_synth-1", (8.0, 8.0, 8.0), edge=(64, 64, 64), columns=5, first=1),
            _dataset("jrc_synth-2", (5.24, 4.0, 4.0), edge=(80, 96, 96), columns=3, first=11),
        )
    )


def _dataset(
    name: str, voxel_size: tuple[float, float, float], *, edge: Shape, columns: int, first: int
) -> SyntheticDataset:
    crops = []
    for number in range(2 * columns):
        row, column = divmod(number, columns)
        begin = (8, 8 + row * (edge[1] + 8), 8 + column * (edge[2] + 8))
        tested = column == columns - 1 or (columns > 3 and row == 1 and column == columns - 2)
        crops.append(SyntheticCrop(id=first + number + (500 if tested else 0), begin=begin, shape=edge, tested=tested))
    shape = (edge[0] + 16, 2 * (edge[1] + 8) + 8, columns * (edge[2] + 8) + 8)
    grid = Grid(voxel_size=voxel_size, translation=(4000.0, 12000.0, 8000.0), shape=shape)
    return SyntheticDataset(name=name, grid=grid, crops=tuple(crops))


def write_data(folder: Path, seed: int) -> Config:
    """Write a challenge and its datasplit, unless they are there."""
    config = load_config(data=folder)
    split = config.path("datasplit")
    if not split.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_challenge(folder, seed=seed, plan=plan())
        rows = make_datasplit(config, SplitOptions(classes=CLASSES)).rows
        trains = {f"crop{number}" for number in TRAINING}
        write_datasplit(
            split, [dataclasses.replace(row, usage="train" if row.crop in trains else "validate") for row in rows]
        )
    return config


def train_and_predict(config: Config, seed: int, seconds: float) -> None:
    """Train a network and predict the crops that validate and those that are scored, unless that is done."""
    done = config.root / "predicted.json"
    if done.exists():
        return
    began = time.process_time()
    settings = fit_to_time(read_train_settings(write_experiment(config.root, quick=False, seed=seed)), config, seconds)
    result = train(
        settings,
        config=config,
        progress=lambda state: None,
        load_model="fresh",
        datasplit_path=config.path("datasplit"),
        model_save_path=str(config.root / "{model_name}_{epoch}.pth"),
        logs_save_path=str(config.root / "logs"),
    )
    trained = time.process_time()
    checkpoint = result.best_checkpoint or result.latest_checkpoint
    for crops in ("test", "validation"):
        predict(checkpoint, crops, config=config)
    spent = {"train": trained - began, "predict": time.process_time() - trained}
    done.write_text(json.dumps(spent), "utf-8")


def run_challenge(config: Config) -> dict[str, Any]:
    """Tune, and score threshold 0.5 alone, what is suggested, and what was tuned."""
    file = config.root / "tune.toml"
    file.write_text(f"classes = {json.dumps(list(CLASSES))}\n", "utf-8")
    began = time.process_time()
    found = tune(file, config=config)
    spent = time.process_time() - began
    plain = ProcessSettings(classes=CLASSES)
    rows = read_datasplit(config.path("datasplit"))
    suggested, _ = starting_settings(read_experiment(file), plain, rows, CLASSES)
    sides = {"plain": plain, "suggested": suggested, "tuned": found.settings}
    return {
        "cpu_seconds": spent,
        "points": sum(entry.points for entry in found.classes),
        "found": describe(found),
        **{
            side: score_side(own_places(config, side, "processed", "submission"), settings, "test")
            for side, settings in sides.items()
        },
    }


def describe(found: TuneResult) -> dict[str, str]:
    """Return what became of each class."""
    return {
        entry.class_name: f"{ {name: entry.after[name] for name in entry.changes} } {entry.gain} {entry.reason}"
        for entry in found.classes
    }


def report(results: dict[str, dict[str, Any]]) -> None:
    """Print a row for each challenge and each class of it, and the mean gains."""
    gains: dict[str, list[float]] = {"suggested": [], "tuned": []}
    rows = []
    for name, result in results.items():
        plain, suggested, tuned = (result[side] for side in ("plain", "suggested", "tuned"))
        for side, values in gains.items():
            values.append(100 * (result[side]["overall"] - plain["overall"]))
        for label in plain["classes"]:
            scores = [f"{100 * side['classes'][label]:.1f}" for side in (plain, suggested, tuned)]
            rows.append((name, label, *scores, result["found"].get(label, "")))
        scores = [f"{100 * side['overall']:.1f}" for side in (plain, suggested, tuned)]
        rows.append((name, "overall", *scores, f"{gains['tuned'][-1]:+.1f}, {result['cpu_seconds']:.0f} CPU s"))
    print(table(["challenge", "class", "plain", "suggested", "tuned", ""], rows))
    for side, values in gains.items():
        print(f"{side}: {sum(values) / len(values):+.2f} points on average, at the least {min(values):+.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--challenges", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=90.0, help="CPU seconds of training for each challenge")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for seed in range(given.challenges):
        if str(seed) not in results:
            config = write_data(given.out / f"challenge-{seed}", seed)
            train_and_predict(config, seed, given.seconds)
            results[str(seed)] = run_challenge(config)
            file.write_text(json.dumps(results, indent=1), "utf-8")
            report({str(seed): results[str(seed)]})
    report(results)


if __name__ == "__main__":
    main()
