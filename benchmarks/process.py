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
from csc_submit import ProcessSettings, process, process_array

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
    "largest_component": {"count": 2},
    "components": {},
}


def compare_steps(volumes: int) -> int:
    """Return in how many random volumes, of odd blocks, a random row of steps differs from that on the whole.

    That steps on the whole are what their libraries do is what the tests of csc-submit compare.
    """
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(volumes):
            random = np.random.default_rng(seed)
            values = ndimage.gaussian_filter(random.random(random.integers(3, 26, 3)), 1.0).astype("f4")
            values = (values - values.min()) / np.ptp(values)
            config, names = Config(data=f"{folder}/{seed}"), random.permutation(list(STEPS))[: random.integers(1, 5)]
            steps = [{"name": "smoothing", "sigma_nm": 6.0}, "threshold", *({"name": n, **STEPS[n]} for n in names)]
            # Closing is for masks.
            steps.sort(key=lambda step: isinstance(step, dict) and step["name"] == "components")
            grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=values.shape)
            place = {"dataset": "x", "crop": "crop1", "class_name": "mito"}
            attributes = StoredValues(kind="probability").to_attributes()
            folder_of_it = config.path("predictions", **place)
            write_multiscale(folder_of_it, [values], [grid], chunks=(8, 8, 8), attributes=attributes)
            settings = ProcessSettings(steps=steps, block_shape=random.integers(1, 14, 3) + 2)
            process(settings, config=config)
            found = np.asarray(open_array(config.path("processed", **place) / "s0")[...])
            differing += not np.array_equal(found, process_array(values, "mito", settings, voxel_size=(8.0, 8.0, 8.0)))
    return differing


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
    print(f"rows of steps by odd blocks: {compare_steps(options.volumes)} of {options.volumes} differ from the whole")


if __name__ == "__main__":
    main()
