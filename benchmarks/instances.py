"""Objects that touch: what each recipe of examples/ makes of them, by the official score.

    python benchmarks/instances.py [--steps 1000] [--seeds 3]

Balls with radii of 100 to 160 nm that touch or overlap a little lie in three volumes, with borders that hardly show;
two train, one is scored. A small network is trained for each of three recipes, with the same steps: to say where the
class is, and nothing else (then threshold and connected components, as for semantic classes); the distance of
instances_watershed.py, with its watershed; the affinities of instances_3D.py, with their mutex watershed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from csc_data.config.experiment import read_experiment
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.wording import table

EXAMPLES = Path(__file__).parents[1] / "examples"
VOXEL_SIZE = (16.0, 16.0, 16.0)
SHAPE = (64, 64, 64)
RADII_NM = (100.0, 160.0)
COLUMNS = ("recipe", "seed", "score", "f1", "distance", "found", "objects", "CPU s")
SEMANTIC = {"targets": "binary", "criterion": "bce_dice"}
RECIPES = {
    "threshold + components": ("instances_watershed.py", SEMANTIC),
    "instances_watershed.py": ("instances_watershed.py", {}),
    "instances_3D.py": ("instances_3D.py", {}),
}


def touching_balls(seed: int, shape: tuple[int, int, int] = SHAPE, count: int = 14) -> np.ndarray:
    """Return balls, one id each, uint16 (z, y, x), of which each touches one that was there before, or overlaps it."""
    rng = np.random.default_rng(seed)
    size = np.array(shape) * VOXEL_SIZE
    centres, radii = [size / 2], [130.0]
    while len(centres) < count:
        radius = rng.uniform(*RADII_NM)
        beside = rng.integers(len(centres))
        way = rng.normal(size=3)
        centre = centres[beside] + way / np.linalg.norm(way) * (radii[beside] + radius) * rng.uniform(0.85, 1.0)
        gaps = [np.linalg.norm(centre - c) / (r + radius) for c, r in zip(centres, radii, strict=True)]
        if min(gaps) > 0.8 and (centre > radius / 2).all() and (centre < size - radius / 2).all():
            centres.append(centre)
            radii.append(radius)
    nm = np.stack(np.meshgrid(*(np.arange(n) * v for n, v in zip(shape, VOXEL_SIZE, strict=True)), indexing="ij"))
    # Where two overlap, a voxel is of the one into which it lies deeper.
    depths = [r - np.linalg.norm(nm - c[:, None, None, None], axis=0) for c, r in zip(centres, radii, strict=True)]
    return np.where(np.max(depths, axis=0) > 0, np.argmax(depths, axis=0) + 1, 0).astype(np.uint16)


def photographed(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return raw of balls, uint8: darker than what is around, borders between two a little darker, blurred, noisy."""
    from scipy import ndimage

    rng = np.random.default_rng(seed + 1000)
    border = (ndimage.maximum_filter(ids, 3) != ids) & (ids > 0) & (ndimage.minimum_filter(ids, 3) > 0)
    values = np.where(ids > 0, 110.0, 160.0) - 12 * border
    return np.clip(ndimage.gaussian_filter(values, 0.8) + rng.normal(0, 14, ids.shape), 0, 255).astype(np.uint8)


def write_data(config: Config, seed: int) -> np.ndarray:
    """Write two volumes that train, one of them validating too, and one to score; return the truth of the last."""
    from csc_data import SplitRow, write_datasplit
    from csc_data.volumes import write_multiscale

    rows = []
    for number in range(3):
        ids = touching_balls(3 * seed + number)
        grid = Grid(voxel_size=VOXEL_SIZE, translation=(0.0, 0.0, 0.0), shape=SHAPE)
        name = f"balls-{number}"
        raw, labels = config.path("raw", dataset=name), config.path("labels", dataset=name, crop="crop1", class_name="")
        write_multiscale(raw, [photographed(ids, 3 * seed + number)], [grid])
        write_multiscale(labels / "mito", [ids], [grid])
        usage = "validate" if number == 2 else "train"
        rows.append(SplitRow(usage=usage, raw=str(raw), labels=str(labels), classes=("mito",)))
    write_datasplit(config.path("datasplit"), rows)
    return ids


def run(name: str, config: Config, truth: np.ndarray, steps: int) -> tuple[object, ...]:
    """Train, predict the volume that validates, process and score it: a row of the table."""
    from csc_data import open_volume
    from csc_eval import score_instances
    from csc_submit import process
    from csc_train import predict, train

    began = time.process_time()
    file, changes = RECIPES[name]
    experiment = EXAMPLES / file
    own = replace(
        config, predictions=f"{name}/predictions/{config.predictions}", processed=f"{name}/{config.processed}"
    )
    result = train(
        experiment,
        config=own,
        progress=lambda state: None,
        classes=("mito",),
        input_array_info={"shape": (32, 32, 32), "scale": VOXEL_SIZE},
        architecture="3d_unet_s",
        model_kwargs={"width": 8, "depth": 3},
        model_save_path=str(config.root / name / "{model_name}_{epoch}.pth"),
        logs_save_path=str(config.root / name / "logs"),
        epochs=1,
        iterations_per_epoch=steps,
        learning_rate=2e-3,
        ema=0.98,
        precision="32-true",
        device="cpu",
        **changes,
    )
    predict(result.latest_checkpoint, ["validation"], config=own, device="cpu")
    listed = read_experiment(experiment).names["steps"]["mito"]
    listed = {"mito": [listed[0], listed[-1]] if changes else listed}  # small objects go in all recipes
    process(experiment, config=own, classes=("mito",), steps=listed)
    place = own.path("processed", dataset="balls-2", crop="crop1", class_name="mito")
    found = open_volume(place).levels[0].array[...]
    # By the definition: the leaderboard does not count a crop of too many specks at all.
    score = score_instances(truth, found, VOXEL_SIZE, rules="definition-2026-06")
    f1 = 2 * score.tp / (2 * score.tp + score.fp + score.fn)
    distance = score.hausdorff_norm_sum / score.n_hausdorff
    objects = len(np.unique(truth)) - 1
    numbers = (f"{score.score:.3f}", f"{f1:.3f}", f"{distance:.3f}", int(found.max()), objects)
    return (name, *numbers, f"{time.process_time() - began:.0f}")


def main() -> None:
    """Run the recipes on volumes of each seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            config = Config(data=folder)
            truth = write_data(config, seed)
            for name in RECIPES:
                first, *numbers = run(name, config, truth, given.steps)
                rows.append((first, seed, *numbers))
                print(table(COLUMNS, rows), flush=True)


rows: list[tuple[object, ...]] = []

if __name__ == "__main__":
    main()
