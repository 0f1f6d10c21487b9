"""Our training against nnU-Net's, on the demo's challenge with 30 % of its pairs of crop and class unannotated.

``python benchmarks/peers.py --out DIR [--seconds 1200] [--seeds 3] [--quick]``; `uv` gets nnU-Net, with the torch and
numpy that are installed here, into an environment of its own. What is done is kept in DIR/runs and not done again.

Both sides have the same training, validation and test crops, voxel size, patch, batch, and widths and depth of the
network; each has its own loss, sampling, augmentation, optimizer and schedule. nnU-Net has its own preprocessing, deep
supervision, and prediction with mirrored tiles. Its classes are regions of a map of the combinations that occur;
what is not annotated is its `ignore` label in one run, and background in another, and the better one counts. With
"ignore" a voxel counts for all classes or for none, but what follows from the classes known there is filled in.

Runs of "equal seconds" have as many steps as take --seconds of CPU, found out by a short run before; "equal steps"
compares nnU-Net's runs with one of ours of as many steps. CPU seconds are those of the training process with its
children; nnU-Net augments in its training process, and threads wait without spinning. Both sides' probabilities are
post-processed, packed and scored alike: by the defaults of csc-submit, and (last column) with the least sizes of
objects of the demo's recipe. nnU-Net's predictions are means over mirrored tiles, at twenty times the CPU seconds; ours
are scored without and with that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers.challenge import UNANNOTATED, write_data
from peers.label_maps import Unannotated
from peers.ours import MIRRORED, fit_to_steps, fit_to_time, run_ours
from peers.scoring import score_predictions
from peers.theirs import run_worker, take_predictions, write_inputs
from side_scores import own_places

from csc_cli.commands.demo.experiment import FILE_NAME
from csc_eval.running.memory import available_cpus
from csc_train.settings import read_train_settings

BAR = 0.05
UNEVEN = 0.15
WAYS: tuple[Unannotated, ...] = ("ignore", "background")
ROUNDS = ("seconds", "steps")
COMPARED = (
    ("defaults", "defaults", ""),
    ("mirrored", "defaults", ", both mirrored"),
    ("sizes", "sizes", ", with the demo's least sizes of objects"),
)
"""Which scores of ours are compared with which of theirs."""
Run = dict[str, Any]


class Runs:
    """What is kept of finished runs.

    Parameters
    ----------
    folder : Path
        A JSON file for each.
    options : dict
        What they depend on; a folder holds runs of the same options alone.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        file = folder.parent / "options.json"
        if file.exists() and (found := json.loads(file.read_text("utf-8"))) != options:
            raise SystemExit(
                f"{folder.parent} holds runs with {found}, not {options}; choose another folder with --out"
            )
        file.write_text(json.dumps(options), "utf-8")

    def keep(self, name: str, work: Callable[[], Run]) -> Run:
        """Return what was kept of a run, or do it and keep it."""
        file = self._folder / f"{name}.json"
        if not file.exists():
            print(f"{name} ...", flush=True)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(work(), indent=1), "utf-8")
            part.rename(file)
        run: Run = json.loads(file.read_text("utf-8"))
        return run


def run_seed(runs: Runs, folder: Path, seed: int, seconds: float, *, quick: bool) -> dict[str, Run]:
    """Do, or read, the runs of a seed."""
    data = write_data(folder / f"challenge-{seed}", seed, quick=quick)
    settings = read_train_settings(data.root / FILE_NAME)
    epochs = 4 if quick else 50  # nnU-Net's rate falls once an epoch

    def theirs(way: Unannotated, **job: Any) -> Run:
        place = data.root / f"nnunet-{way}"
        write_inputs(data, place, settings, way)
        return run_worker(place, seed=seed, epochs=epochs, mirror=not quick, **job)

    def ours(name: str, fit: Callable[[], Any]) -> Run:
        place = data.root / name
        shutil.rmtree(place, ignore_errors=True)
        run = run_ours(data, name, fit())
        mirrored = score_predictions(data, f"{name}{MIRRORED}")
        return {**run, "scores": score_predictions(data, name) | {"mirrored": mirrored["defaults"]}}

    def trained(way: Unannotated) -> Run:
        run = theirs(way, measure=False, iterations=iterations)
        name = f"nnunet-{way}"
        take_predictions(data, own_places(data, name, "predictions"), data.root / name)
        return {**run, "scores": score_predictions(data, name)}

    cost = runs.keep(f"{seed}-nnunet-cost", lambda: theirs("background", measure=True, iterations=1))
    iterations = max(1, round((seconds - cost["start"] - epochs * cost["epoch"]) / cost["step"] / epochs))
    steps = epochs * iterations
    return {
        "ours, equal seconds": runs.keep(
            f"{seed}-ours-seconds", lambda: ours("ours-seconds", lambda: fit_to_time(settings, data, seconds))
        ),
        "ours, equal steps": runs.keep(
            f"{seed}-ours-steps", lambda: ours("ours-steps", lambda: fit_to_steps(settings, steps))
        ),
        **{f"nnU-Net, {way}": runs.keep(f"{seed}-nnunet-{way}", lambda way=way: trained(way)) for way in WAYS},
    }


def report(found: dict[int, dict[str, Run]], seconds: float) -> None:
    """Print a line for each run, the means of each side, and by how much ours is ahead."""
    print(f"{'seed':>4}  {'side':22}{'steps':>6}{'train':>8}{'prepare':>9}{'predict':>9}", end="")
    print(f"{'overall':>9}{'instance':>9}{'semantic':>9}{'overall, least sizes':>22}")
    for name in next(iter(found.values())):
        for seed, sides in found.items():
            print(f"{seed:4}  {_line(name, [sides[name]])}")
        print(f"mean  {_line(name, [sides[name] for sides in found.values()])}")
    print("train, prepare, predict: CPU seconds")
    for seed, sides in found.items():
        for name, run in sides.items():
            if name != "ours, equal steps" and abs(run["train_cpu_seconds"] / seconds - 1) > UNEVEN:
                print(f"seed {seed}, {name}: not {seconds:.0f} s, as the machine had other work when steps were timed")
    for kind in ROUNDS:
        for ours, theirs, words in COMPARED:
            ahead = [
                sides[f"ours, equal {kind}"]["scores"][ours]["overall"]
                - max(sides[f"nnU-Net, {way}"]["scores"][theirs]["overall"] for way in WAYS)
                for sides in found.values()
            ]
            mean = sum(ahead) / len(ahead)
            verdict = "" if words else f" (bar {BAR:+.2f}: {'met' if mean >= BAR else 'MISSED'})"
            each = ", ".join(f"{one:+.3f}" for one in ahead)
            print(f"equal {kind}{words}: ours ahead of nnU-Net's better run by {mean:+.3f}{verdict}; by seed {each}")


def _line(name: str, runs: list[Run]) -> str:
    def mean(pick: Callable[[Run], float]) -> float:
        return sum(map(pick, runs)) / len(runs)

    seconds = [mean(lambda run, key=key: run[f"{key}_cpu_seconds"]) for key in ("train", "prepare", "predict")]
    scores = [mean(lambda run, key=key: run["scores"]["defaults"][key]) for key in ("overall", "instance", "semantic")]
    least = mean(lambda run: run["scores"]["sizes"]["overall"])
    return (
        f"{name:22}{mean(lambda run: run['steps']):6.0f}{seconds[0]:8.0f}{seconds[1]:9.1f}{seconds[2]:9.1f}"
        f"{scores[0]:9.3f}{scores[1]:9.3f}{scores[2]:9.3f}{least:22.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, help="CPU seconds of training for each run; 1200, or 15 with --quick")
    parser.add_argument("--seeds", type=int, help="how many; 3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="to try it: small volumes, few steps, no mirrored tiles")
    given = parser.parse_args()
    seconds = given.seconds or (15.0 if given.quick else 1200.0)
    runs = Runs(
        given.out / "runs", {"seconds": seconds, "quick": given.quick, "unannotated": UNANNOTATED, "mirrored": True}
    )
    found = {
        seed: run_seed(runs, given.out, seed, seconds, quick=given.quick)
        for seed in range(given.seeds or (1 if given.quick else 3))
    }
    ours, _, theirs, _ = next(iter(found.values())).values()
    print(f"ours: csc-train {version('csc-train')}, torch {version('torch')}, {ours['parameters']:,} parameters")
    versions = ", ".join(f"{name} {number}" for name, number in theirs["versions"].items())
    print(f"nnU-Net: {versions}, {theirs['parameters']:,} parameters")
    print(
        f"Python {platform.python_version()}, {available_cpus()} cores, OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}"
    )
    report(found, seconds)


if __name__ == "__main__":
    main()
