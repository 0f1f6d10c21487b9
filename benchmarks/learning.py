"""How fast a network learns the synthetic challenge: validation Dice over CPU seconds of training.

Run it as ``python benchmarks/learning.py --out DIR [--seconds 600] [--set NAME=VALUE ...] [--figure FILE.png]``. It
trains the demo's experiment, with a running mean of its weights, on the demo's volumes for so many CPU seconds (loading
and validation included), validates on all tiles of the validation crops, and prints the mean Dice of the demo's eight
classes after each epoch.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

from cpu_budget import fit_to_time

from csc_cli.commands.demo.experiment import CLASSES, write_experiment
from csc_data.config.user_config import load_config
from csc_data.splits.split_file import write_datasplit
from csc_data.splits.splitting import SplitOptions, make_datasplit
from csc_data.synthetic import write_challenge
from csc_train import TrainProgress, train
from csc_train.settings import read_train_settings

EPOCHS = 20
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600.0, help="CPU seconds of training")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as TOML")
    parser.add_argument("--figure", type=Path, help="where to draw the curve")
    given = parser.parse_args()
    config = load_config(data=given.out)
    split = config.path("datasplit")
    if not split.exists():
        write_challenge(given.out, seed=SEED)
        write_datasplit(split, make_datasplit(config, SplitOptions(classes=CLASSES, seed=SEED)).rows)
    file = write_experiment(given.out, quick=False, seed=SEED)
    own: dict[str, Any] = {"epochs": EPOCHS, "validation_batch_limit": None, "best_metric": "dice", "ema": 0.99}
    own |= tomllib.loads("\n".join(given.set))
    settings = fit_to_time(read_train_settings(file, **own), config, given.seconds)
    print(f"{settings.epochs} epochs of {settings.iterations_per_epoch} iterations", flush=True)
    curve: list[tuple[float, float]] = []
    began = time.process_time()

    def note(state: TrainProgress) -> None:
        if state.record is not None and state.record.validation is not None:
            values = state.record.validation.values
            seconds = time.process_time() - began
            curve.append((seconds, values["dice"]))
            each = " ".join(f"{name} {values[f'dice/{name}']:.2f}" for name in settings.classes)
            print(
                f"{curve[-1][0]:6.0f} CPU s  loss {state.record.loss:.4f}  dice {curve[-1][1]:.4f}  {each}", flush=True
            )

    train(settings, config=config, progress=note, load_model="fresh")
    if given.figure:
        draw(curve, given.figure)


def draw(curve: list[tuple[float, float]], file: Path) -> None:
    """Draw the curve."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    axes.plot(*zip(*curve, strict=True), marker=".")
    axes.set(xlabel="CPU seconds of training", ylabel="mean validation Dice", ylim=(0, 1))
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
