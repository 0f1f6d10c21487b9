"""What `csc tune` gains on crops that it has not seen, against threshold 0.5 without a size filter.

Run it as ``python benchmarks/tune.py --out DIR [--challenges 5] [--seconds 90]``. What is done is kept in DIR and not
done again. Each synthetic challenge has a network of its own, trained for some CPU seconds, 4 crops that train, 7 that
validate and 5 that are scored, at 8 nm and at 5.24 x 4 x 4 nm. Thresholds and sizes are tuned on the validation crops and scored on
the test crops, as the leaderboard scores; so is what `csc plan` would suggest. Bars: the mean gain is 1 point or more,
and none is below -0.5.
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

from csc_cli.commands.demo.experiment import CLASSES, write_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.geometry import Grid, Shape
from csc_data.splits.split_file import write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import ChallengePlan, SyntheticCrop, SyntheticDataset, write_challenge
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
        tested = column >= columns - (2 if columns > 3 else 1) and row == 1 or column == columns - 1
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--challenges", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=90.0, help="CPU seconds of training for each challenge")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in range(given.challenges):
        began = time.process_time()
        config = write_data(given.out / f"challenge-{seed}", seed)
        print(f"data {time.process_time() - began:.0f} CPU s", flush=True)
        train_and_predict(config, seed, given.seconds)
        print(f"all {time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
