"""What the training loop costs above a bare forward, backward and step over the same batches.

python benchmarks/train.py [--network 3d_unet] [--size 64] [--batch 2] [--steps 6] [--device cpu] [--precision 32-true]

Both take the same batches, with the same loss, and take turns, so that a machine that others use slows both; the CPU
seconds are to be compared. On a GPU the share of time that the loop waits for data is told besides, with workers.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale
from csc_train import TrainSettings
from csc_train.training.run import Run
from csc_train.training.steps import take_step, timed
from csc_train.training.train import set_up_run

CLASSES = ("ecs", "pm", "mito_mem", "mito_lum", "er_mem", "ves", "mito", "er")
TURNS = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}}
BAR = 0.03


def write_split(folder: Path) -> Path:
    """Write a crop of noise in which all classes are annotated, and return its datasplit."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(100, 200, 300), shape=(200, 200, 200))
    rng = np.random.default_rng(0)
    raw = folder / "x.zarr" / "raw"
    write_multiscale(raw, [rng.integers(0, 255, grid.shape).astype(np.uint8)], [grid])
    crop = folder / "x.zarr" / "labels" / "crop1"
    for name in CLASSES:
        box = grid.window((10, 10, 10), (180, 180, 180))
        write_multiscale(crop / name, [(rng.random(box.shape) > 0.5).astype(np.uint8)], [box])
    row = SplitRow(usage="train", raw=str(raw), labels=str(crop), classes=CLASSES)
    write_datasplit(folder / "datasplit.csv", [row])
    return folder / "datasplit.csv"


def bare_step(run: Run, batch: dict[str, Any]) -> None:
    """Do what every loop has to do."""
    target = batch["output"]
    known = ~torch.isnan(target)
    with run.fabric.autocast():
        logits = run.state.network(batch["input"])
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), torch.where(known, target, 0.0), weight=known.float(), reduction="sum"
    )
    (loss / known.sum()).backward()
    run.state.optimizer.step()
    run.state.optimizer.zero_grad()


def clocked(work: Callable[[], Any], device: torch.device) -> np.ndarray[Any, Any]:
    """Return wall and CPU seconds of some work."""
    began = np.array([time.perf_counter(), time.process_time()])
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return np.array([time.perf_counter(), time.process_time()]) - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="3d_unet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = TrainSettings(
            classes=CLASSES,
            datasplit_path=write_split(folder),
            input_array_info={"shape": (given.size,) * 3, "scale": (8, 8, 8)},
            model_name=given.network,
            batch_size=given.batch,
            iterations_per_epoch=10**6,
            spatial_transforms=TURNS,
            weight_loss=False,
            device=given.device,
            precision=given.precision,
            num_workers=given.workers,
            model_save_path=str(folder / "{model_name}_{epoch}.pth"),
            logs_save_path=str(folder / "logs"),
        )
        run = set_up_run(settings, None)
        device = run.fabric.device
        run.network.train()
        batches = timed(run, run.loaders.train)
        spent = {"bare": np.zeros(2), "loop": np.zeros(2)}
        for number in range(given.steps + 1):
            batch = next(batches)
            bare = clocked(lambda batch=batch: bare_step(run, batch), device)
            loop = clocked(lambda batch=batch: take_step(run, [batch]), device)
            if number:  # the first chooses kernels
                spent["bare"] += bare
                spent["loop"] += loop
        waiting, whole = waiting_share(run, batches, given.steps)
        del batches
    print(f"{given.network}, {given.batch} x {given.size}^3, {given.precision}, {device}, ms a step")
    print(f"{'':8}{'wall':>10}{'CPU':>10}")
    for name, seconds in spent.items():
        wall, cpu = seconds / given.steps * 1e3
        print(f"{name:8}{wall:10.1f}{cpu:10.1f}")
    column = 0 if device.type == "cuda" else 1
    over = spent["loop"][column] / spent["bare"][column] - 1
    print(f"above bare: {over:.1%} (bar {BAR:.0%}: {'met' if over < BAR else 'MISSED'})")
    print(f"loop with loading: {whole * 1e3:.1f} ms a step, {waiting:.1%} of it waiting for data")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def waiting_share(run: Run, batches: Any, steps: int) -> tuple[float, float]:
    """Return the share of time that steps waited for data, and the seconds of a step."""
    began, run.waited = time.perf_counter(), 0.0
    for _ in range(steps):
        take_step(run, [next(batches)])
    if run.fabric.device.type == "cuda":
        torch.cuda.synchronize(run.fabric.device)
    seconds = time.perf_counter() - began
    return run.waited / seconds, seconds / steps


if __name__ == "__main__":
    main()
