"""How good plans are: `csc plan` against the demo's hand-made recipe, at equal CPU seconds of training.

Run it as ``python benchmarks/plan.py --out DIR [--seconds 300] [--seeds 5] [--only VARIANT]``. What is done is kept in
DIR and not done again. There are three challenges: the demo's, one of twice its sizes (16 nm voxels, organelles twice
as large), and one of half of them. Both sides train on the same crops for the same CPU seconds, loading and validation
included: how many iterations that is, is found out by a short run of each first. Each side post-processes as
it says itself.
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
from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.fingerprint import take_fingerprint
from csc_data.geometry import Grid
from csc_data.splits.split_file import read_datasplit, write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import Anatomy, ChallengePlan, default_plan, write_challenge
from csc_eval.running.memory import available_cpus, available_memory
from csc_submit import ProcessSettings
from csc_submit.suggesting import suggest_processing
from csc_train import TrainSettings, predict, train
from csc_train.plan import StepCost, look_at_machine, make_plans, measure_step
from csc_train.settings import read_train_settings

VARIANTS = {"demo": 1.0, "twice": 2.0, "half": 0.5}
SIDES = ("recipe", "plan")

Experiment = tuple[TrainSettings, ProcessSettings]


def scaled_plan(factor: float, quick: bool) -> ChallengePlan:
    """Return the demo's challenge with all lengths scaled."""
    plan = default_plan(quick=quick)
    sizes: dict[str, Any] = {}
    for field in dataclasses.fields(Anatomy):
        value = getattr(plan.anatomy, field.name)
        if field.name.endswith("_nm"):
            sizes[field.name] = tuple(factor * v for v in value) if isinstance(value, tuple) else factor * value
        elif isinstance(value, float):  # numbers in a volume, or of pores on an area
            sizes[field.name] = value / factor ** (2 if field.name == "pores" else 3)
    datasets = tuple(
        dataclasses.replace(
            dataset,
            grid=Grid(
                voxel_size=[factor * v for v in dataset.grid.voxel_size],
                translation=dataset.grid.translation,
                shape=dataset.grid.shape,
            ),
        )
        for dataset in plan.datasets
    )
    return dataclasses.replace(plan, datasets=datasets, anatomy=dataclasses.replace(plan.anatomy, **sizes))


def write_data(folder: Path, factor: float, seed: int, quick: bool) -> Config:
    """Write a challenge and its datasplit, unless they are there."""
    config = load_config(data=folder)
    split = config.path("datasplit")
    if not split.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_challenge(folder, seed=seed, plan=scaled_plan(factor, quick))
        write_datasplit(split, make_datasplit(config, SplitOptions(classes=CLASSES, seed=seed)).rows)
    return config


def recipe(config: Config, seed: int, quick: bool) -> Experiment:
    """Return the demo's own experiment, unchanged."""
    file = write_experiment(config.root, quick=quick, seed=seed)
    return read_train_settings(file), build_settings(read_experiment(file), ProcessSettings)


def planned(config: Config, seed: int, seconds: float) -> Experiment:
    """Return what is planned, with CPU seconds for time."""

    def measure(settings: TrainSettings) -> StepCost:
        cost = measure_step(settings)
        return dataclasses.replace(cost, seconds=cost.cpu_seconds)

    rows = read_datasplit(config.path("datasplit"))
    fingerprint = take_fingerprint(rows, CLASSES)
    machine = look_at_machine("cpu", seconds=seconds, free_bytes=available_memory(), cores=available_cpus())
    plan, *others = make_plans(fingerprint, machine, datasplit=config.path("datasplit"), measure=measure)
    assert not others
    suggested = suggest_processing(plan.group.classes, plan.settings.input_array_info.scale)
    choices = {choice.name: choice.value for choice in suggested}
    return read_train_settings(plan.settings, random_seed=seed), ProcessSettings(**choices)


def run_side(side: str, config: Config, seed: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Train, predict and score one side; return the scores and what they took."""
    chosen, processing = recipe(config, seed, quick) if side == "recipe" else planned(config, seed, seconds)
    settings = fit_to_time(chosen, config, seconds)
    place = config.root / side
    shutil.rmtree(place, ignore_errors=True)  # of a run that was broken off
    began = time.process_time()
    result = train(
        settings,
        config=config,
        progress=lambda state: None,
        load_model="fresh",
        datasplit_path=config.path("datasplit"),
        model_save_path=str(place / "{model_name}_{epoch}.pth"),
        logs_save_path=str(place / "logs"),
    )
    spent = time.process_time() - began
    own = own_places(config, side, "predictions", "processed", "submission")
    predict(result.best_checkpoint or result.latest_checkpoint, config=own, existing="overwrite")
    return {
        **score_side(own, processing),
        "cpu_seconds": spent,
        "steps": settings.epochs * settings.iterations_per_epoch,
        "patch": list(settings.input_array_info.shape),
        "scale": list(settings.input_array_info.scale),
        "precision": settings.precision,
    }


def report(results: dict[str, dict[str, Any]]) -> None:
    """Print a line for each pair of sides that is done, and the means."""
    differences: dict[str, list[float]] = {}
    for key in sorted({name.rpartition("/")[0] for name in results}):
        sides = [results.get(f"{key}/{side}") for side in SIDES]
        if sides[0] is None or sides[1] is None:
            continue
        recipe_side, plan_side = sides
        difference = plan_side["overall"] - recipe_side["overall"]
        differences.setdefault(key.partition("/")[0], []).append(difference)
        words = [
            f"{one['overall']:.3f} ({one['steps']} steps of {one['patch'][0]}^3 at {one['scale'][0]:g} nm, "
            f"{one['cpu_seconds']:.0f} CPU s)"
            for one in (recipe_side, plan_side)
        ]
        print(f"{key}: recipe {words[0]}, plan {words[1]}, plan ahead by {difference:+.3f}")
    for variant, found in differences.items():
        print(f"{variant}: plan ahead by {sum(found) / len(found):+.3f} on average, at the least {min(found):+.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU seconds of training for each side")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=VARIANTS, action="append")
    parser.add_argument("--quick", action="store_true", help="the demo's smaller volumes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for variant in given.only or VARIANTS:
        for seed in range(given.seeds):
            config = write_data(given.out / f"{variant}-{seed}", VARIANTS[variant], seed, given.quick)
            for side in SIDES:
                key = f"{variant}/{seed}/{side}"
                if key not in results:
                    results[key] = run_side(side, config, seed, given.seconds, given.quick)
                    file.write_text(json.dumps(results, indent=1), "utf-8")
                    print(key, results[key], flush=True)
    report(results)


if __name__ == "__main__":
    main()
