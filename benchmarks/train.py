"""Where the time of a training step goes on this machine: loading, forward, loss, backward, optimizer.

Run it as ``python benchmarks/train.py [threads ...]``. Wall and CPU seconds differ where threads wait by spinning: try
``OMP_WAIT_POLICY=passive``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from csc_train.training.losses import KnownVoxelLoss

from csc_data.geometry import Grid
from csc_data.loader import get_dataloader
from csc_data.splits.split_file import SplitRow
from csc_data.volumes import write_multiscale
from csc_models import create_model

CLASSES = ("ecs", "pm", "mito_mem", "mito_lum", "er_mem", "ves", "mito", "er")
TURNS = {"mirror": {"axes": ["x", "y", "z"]}, "transpose": {"axes": ["x", "y", "z"]}}
STEPS = 20


def write_crop(folder: Path) -> SplitRow:
    grid = Grid(voxel_size=(5.24, 4, 4), translation=(100, 200, 300), shape=(160, 220, 220))
    rng = np.random.default_rng(0)
    raw = folder / "x.zarr" / "raw"
    write_multiscale(raw, [rng.integers(0, 255, grid.shape).astype(np.uint8)], [grid])
    crop = folder / "x.zarr" / "labels" / "crop1"
    for name in CLASSES:
        box = grid.window((10, 10, 10), (130, 190, 190))
        write_multiscale(crop / name, [(rng.random(box.shape) > 0.95).astype(np.uint8)], [box])
    return SplitRow(usage="train", raw=str(raw), labels=str(crop), classes=CLASSES)


def measure(threads: int, size: int, row: SplitRow) -> None:
    torch.set_num_threads(threads)
    loader = get_dataloader(
        [row],
        CLASSES,
        batch_size=2,
        input_array_info={"shape": (size,) * 3, "scale": (8, 8, 8)},
        spatial_transforms=TURNS,
        iterations_per_epoch=STEPS + 2,
    ).train
    network = create_model("3d_unet_s", n_channels=1, n_classes=len(CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    criterion = KnownVoxelLoss("bce_dice", None, torch.full((len(CLASSES),), 5.0))
    batches = iter(loader)
    spent = dict.fromkeys(("load", "forward", "loss", "backward", "optimizer"), np.zeros(2))

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = np.array([time.perf_counter(), time.process_time()])
        result = work()
        spent[name] = spent[name] + np.array([time.perf_counter(), time.process_time()]) - start
        return result

    for step in range(STEPS + 2):
        if step == 2:  # the first steps decode the crop and choose kernels
            spent.update(dict.fromkeys(spent, np.zeros(2)))
        batch = timed("load", lambda: next(batches))
        logits = timed("forward", lambda batch=batch: network(batch["input"]))
        loss = timed("loss", lambda logits=logits, batch=batch: criterion(logits, batch["output"]))
        timed("backward", loss.value.backward)
        timed("optimizer", optimizer.step)
        optimizer.zero_grad()
    total = sum(spent.values()) / STEPS
    parts = "  ".join(f"{name} {value[0] / STEPS * 1e3:6.1f}" for name, value in spent.items())
    print(f"{threads} threads, 2 x {size}^3: {total[0] * 1e3:7.1f} ms wall, {total[1] * 1e3:7.1f} ms CPU | {parts}")


def main() -> None:
    threads = [int(text) for text in sys.argv[1:]] or [1, torch.get_num_threads()]
    with tempfile.TemporaryDirectory() as folder:
        row = write_crop(Path(folder))
        for count in dict.fromkeys(threads):
            for size in (32, 40, 64):
                measure(count, size, row)


if __name__ == "__main__":
    main()
