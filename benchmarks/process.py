"""Post-processing by blocks: that it is what the whole volume gives, and what it costs beside that.

python benchmarks/process.py [--size 600] [--block 128] [--volumes 200]

Components of a made-up volume, by blocks through `csc_submit.process`, are compared with cc3d's of the whole, up to
names; their CPU time with that of reading the prediction, cc3d and writing ids at once. Then rows of steps on small
random volumes in odd blocks are compared with the same in memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cc3d
import numpy as np
from scipy import ndimage

from csc_data.config.user_config import Config
from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_submit import ProcessSettings, process, process_arrays
from csc_submit.steps.declared import MutexWatershed

BAR = 3.0


def make_prediction(folder: Path, size: int) -> None:
    """Write probabilities as uint8 whose objects cross many blocks: noise of 8 voxels, at a threshold of a half."""
    coarse = np.random.default_rng(0).random((size // 8 + 2,) * 3, dtype="f4")
    smooth = ndimage.gaussian_filter(coarse, 1.0)
    fine = ndimage.zoom(smooth, 8, order=1)[:size, :size, :size]
    limit = np.quantile(smooth, 0.8)
    values = np.clip((fine - limit) * 2000 + 127.5, 0, 255).astype("u1")
    grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=values.shape)
    attributes = StoredValues(kind="probability", one=255.0).to_attributes()
    write_multiscale(folder, [values], [grid], chunks=(64, 64, 64), attributes=attributes)


def at_once(source: Path, target: Path) -> np.ndarray:
    """Read, label and write the whole volume."""
    values = np.asarray(open_array(source)[...])
    ids = cc3d.connected_components((values > 127.5).view(np.uint8), connectivity=26)
    ids = ids.astype(np.min_scalar_type(int(ids.max())))
    create_array(target, shape=ids.shape, dtype=ids.dtype, chunks=(64, 64, 64))[...] = ids
    return ids


STEPS: dict[str, dict[str, object]] = {
    "opening": {"radius_nm": 9.0},
    "closing": {"radius_nm": 9.0},
    "fill_holes": {},
    "remove_small": {"voxels": 15},
    "remove_large": {"voxels": 40},
    "size_filter": {"min_nm3": 5000, "max_nm3": 30000},
    "largest_component": {"count": 2},
    "inside": {"of": ["cell"]},
    "outside": {"of": ["mito_mem"]},
    "union": {"of": ["mito_lum"]},
    "hierarchy": {},
}
# Margins that reach through the volumes: within them, blocks are to give what the whole gives.
LAST: tuple[dict[str, object], ...] = (
    {"name": "components"},
    {"name": "watershed", "seed_distance_nm": 12.0, "margin_nm": 240.0},
    {"name": "watershed", "seeds": "mito_lum", "on": "probability", "margin_nm": 240.0},
    {"name": "watershed", "seeds": "mito_lum", "on": "mito_mem", "margin_nm": 240.0},
    {"name": "mutex_watershed", "margin_nm": 240.0},
)
CLASSES = ("mito", "mito_mem", "mito_lum", "cell")


def random_steps(random: np.random.Generator) -> dict[str, list[object]]:
    """Return a row of steps for mito, which may read the other classes, and a threshold for these."""
    names = random.permutation(list(STEPS))[: random.integers(1, 6)]
    steps = [{"name": n, **STEPS[n]} for n in names]
    last = LAST[random.integers(len(LAST))]
    begin: list[object] = [{"name": "smoothing", "sigma_nm": 6.0}, "threshold"]
    return {"mito": [*begin, *steps, last], **{name: ["threshold"] for name in CLASSES[1:]}}


def compare_steps(volumes: int) -> tuple[int, set[str]]:
    """Return in how many random volumes, of odd blocks, a random row of steps differs from that on the whole.

    Beside that, which steps were in the rows.

    That steps on the whole are what their libraries do is what the tests of csc-submit compare.
    """
    differing, seen = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(volumes):
            random = np.random.default_rng(seed)
            shape = tuple(random.integers(3, 26, 3))
            affinities = MutexWatershed().channels("mito")
            values = {name: smooth_values(random, shape) for name in (*CLASSES, *affinities)}
            config, steps = Config(data=f"{folder}/{seed}"), random_steps(random)
            grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=shape)
            attributes = StoredValues(kind="probability").to_attributes()
            for name, array in values.items():
                place = config.path("predictions", dataset="x", crop="crop1", class_name=name)
                write_multiscale(place, [array], [grid], chunks=(8, 8, 8), attributes=attributes)
            settings = ProcessSettings(steps=steps, block_shape=random.integers(1, 14, 3) + 2)
            result = process(settings, config=config)
            assert not result.failed, result.failed
            whole = process_arrays(values, settings, voxel_size=grid.voxel_size)
            place = config.path("processed", dataset="x", crop="crop1", class_name="mito") / "s0"
            differing += not np.array_equal(np.asarray(open_array(place)[...]), whole["mito"])
            seen |= {step if isinstance(step, str) else str(step["name"]) for step in steps["mito"]}
    return differing, seen


def smooth_values(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return smooth values from 0 to 1."""
    values = ndimage.gaussian_filter(random.random(shape), 1.0).astype("f4")
    return (values - values.min()) / np.ptp(values)


def main() -> None:
    """Make, process both ways, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--volumes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=folder)
        place = {"dataset": "x", "crop": "crop1", "class_name": "mito"}
        make_prediction(config.path("predictions", **place), options.size)
        begin = time.process_time()
        whole = at_once(config.path("predictions", **place) / "s0", Path(folder) / "whole")
        reference = time.process_time() - begin
        begin = time.process_time()
        (row,) = process(ProcessSettings(block_shape=(options.block,) * 3), config=config).rows
        ours = time.process_time() - begin
        found = np.asarray(open_array(config.path("processed", **place) / "s0")[...])
    count = int(whole.max())
    pairs = len(np.unique(whole.astype(np.int64) * (int(found.max()) + 1) + found))
    equal = row.instances == count and pairs == count + 1
    print(f"{count} objects, by blocks of {options.block} {'equal' if equal else 'NOT EQUAL'} to those of the whole")
    print(f"CPU: at once {reference:.1f} s, by blocks {ours:.1f} s: {ours / reference:.2f} times (bar {BAR:g})")
    differing, seen = compare_steps(options.volumes)
    print(f"rows of steps by odd blocks: {differing} of {options.volumes} differ from the whole")
    print(f"steps in them: {', '.join(sorted(seen))}")


if __name__ == "__main__":
    main()
