"""What pretraining on raw without annotations is worth: scores after equal fine-tuning steps on two annotated crops.

Run it as ``python benchmarks/pretraining.py --out DIR [--seeds 1,2,3] [--epochs 15] [--set NAME=VALUE ...]``. For each
seed it writes the demo's synthetic challenge, pretrains the demo's network on all of its raw (``--epochs`` of 100
steps; ``--set`` says more, as the table ``pretraining`` of an experiment does), and trains it on one crop of each of
the two data sets for ``--steps``: from random weights, from all of the pretrained ones, and from those of the encoder.
What comes of it is predicted, processed, packed and scored on the test crops. A table tells the scores, and CPU
seconds. What is finished is not done again; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from csc_cli.commands.demo.experiment import CLASSES, experiment_text
from csc_data.config.user_config import Config, load_config
from csc_data.splits.split_file import write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import write_challenge
from csc_eval import score_submission
from csc_submit import pack_results, process
from csc_train import predict, pretrain, train

CROPS = ("crop1", "crop11")
STEPS_OF_AN_EPOCH = 100
ARMS = ("random", "whole", "encoder")
Row = dict[str, Any]


def main() -> None:
    """Fill in what is missing of the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of pretraining, of 100 steps")
    parser.add_argument("--steps", type=int, default=300, help="steps of training, in all arms")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of pretraining, as TOML")
    parser.add_argument("--mask", action="append", default=[], metavar="NAME=VALUE", help="mask_share, mask_size")
    parser.add_argument("--name", default="pretrained", help="tells results of other settings apart")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, given.seeds.split(",")):
        for arm in given.arms.split(","):
            run_arm(given, seed, arm)
        print_table(given.out)


def run_arm(given: argparse.Namespace, seed: int, arm: str) -> None:
    """Pretrain, train and score, unless that is done."""
    name = arm if arm == "random" else f"{arm}_{given.name}"
    results = read_results(given.out)
    if any((row["seed"], row["arm"], row["steps"]) == (seed, name, given.steps) for row in results):
        return
    config = prepare(given.out / f"seed{seed}", seed)
    experiment = config.root / "train_3D.py"
    start: Row = {}
    row: Row = {"seed": seed, "arm": name, "steps": given.steps, "pretraining_cpu": 0.0}
    if arm != "random":
        own = {"epochs": given.epochs, "images": 0, **tomllib.loads("\n".join(given.set))}
        began = time.process_time()
        done = pretrain(
            experiment,
            config=config,
            progress=lambda p: p.record and print(f"  {name} {p.epoch}: {p.record.loss:.4f}", flush=True),
            pretraining=own | {"model_name": f"seed{seed}_{given.name}"},
            **tomllib.loads("\n".join(given.mask)),
        )
        weights = str(done.latest_checkpoint)
        spent = config.root / f"{given.name}_cpu.json"
        if not spent.exists():
            spent.write_text(json.dumps(time.process_time() - began))
        row |= {"pretraining_cpu": json.loads(spent.read_text()), "pretraining": own}
        start = {"load_model": weights} if arm == "whole" else {"pretrained": weights}
    began = time.process_time()
    trained = train(
        experiment,
        config=config,
        progress=lambda _: None,
        epochs=given.steps // STEPS_OF_AN_EPOCH,
        model_name=f"{name}_{given.steps}",
        architecture="3d_unet_s",
        images=0,
        **start,
    )
    row["training_cpu"] = time.process_time() - began
    row |= score(experiment, config, str(trained.latest_checkpoint))
    (given.out / "results.json").write_text(json.dumps([*read_results(given.out), row], indent=1))
    print(row, flush=True)


def prepare(folder: Path, seed: int) -> Config:
    """Write the challenge, a split of two crops that train, and the experiment."""
    config = load_config(data=folder)
    split = config.path("datasplit")
    if not split.exists():
        write_challenge(folder, seed=seed)
        rows = make_datasplit(config, SplitOptions(classes=CLASSES, seed=seed)).rows
        write_datasplit(split, [replace(row, usage="train") for row in rows if row.crop in CROPS])
        (folder / "train_3D.py").write_text(experiment_text(quick=False, seed=seed))
    return config


def score(experiment: Path, config: Config, checkpoint: str) -> Row:
    """Predict the test crops with a checkpoint, and return the scores of it."""
    for name in ("predictions", "processed", "submission.zarr"):
        shutil.rmtree(config.root / name, ignore_errors=True)
    (config.root / "submission.zip").unlink(missing_ok=True)
    predict(experiment, config=config, checkpoint=checkpoint, progress=lambda *_: None)
    process(experiment, config=config)
    pack_results(config=config)
    found = score_submission(config.path("submission").with_suffix(".zip"), config.path("ground_truth")).combined
    return {**found.overall(), "classes": {name: score.score for name, score in found.classes.items()}}


def read_results(out: Path) -> list[Row]:
    """Return the rows that are there."""
    file = out / "results.json"
    return json.loads(file.read_text()) if file.exists() else []


def print_table(out: Path) -> None:
    """Print a line for each row, and what it gains above random weights of its seed."""
    rows = read_results(out)
    base = {(row["seed"], row["steps"]): row["overall_score"] for row in rows if row["arm"] == "random"}
    print(f"{'seed':>4} {'steps':>5}  {'from':24} {'overall':>7} {'gain':>6} {'semantic':>8} {'instance':>8}  CPU s")
    for row in sorted(rows, key=lambda row: (row["steps"], row["seed"], row["arm"])):
        gain = row["overall_score"] - base.get((row["seed"], row["steps"]), float("nan"))
        print(
            f"{row['seed']:4} {row['steps']:5}  {row['arm']:24} {row['overall_score']:7.3f} {gain:+6.3f} "
            f"{row['overall_semantic_score']:8.3f} {row['overall_instance_score']:8.3f}  "
            f"{row['pretraining_cpu']:.0f} + {row['training_cpu']:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
