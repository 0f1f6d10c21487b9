"""Patches gathered on a GPU beside those of the CPU, and how long a GPU waits for them in training.

    python benchmarks/loader_gpu.py [--device cuda] [--workers 16] [--data FOLDER] [--only table,waiting]

First it tells whether the GPU gathers what the CPU gathers. Then there are two tables. `table`: milliseconds a patch
for 128^3, 64^3 and 128^2, upright, rotated, rotated with scale and elastic, and that with intensities, for 5 and 48
classes: by one process of the CPU, sent to the GPU packed; by all workers; gathered on the GPU, with what the CPU has
to do for it. `waiting`: the share of a training step at 128^3, batch 2, bf16, in which the GPU does not learn, that is,
what a step takes longer than with a batch that is there: for dense batches, packed ones, and those that are gathered on
the GPU.

It needs csc-data and csc-models (``PYTHONPATH=packages/csc-data/src:packages/csc-models/src``), torch, and as wheels:
numpy, scipy, numba, llvmlite, zarr 2.18, asciitree, fasteners, numcodecs, deprecated, wrapt, fsspec, lazy-loader,
platformdirs, pydantic, pydantic-core, annotated-types, typing-inspection, typing-extensions, tomli-w.
It writes its volumes itself, 4 GB, in some minutes. Without a GPU it says so; ``--device cpu`` tries all of it out at
small sizes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader.volumes import write_crop
from loader.works import CLASSES, ELASTIC, FLIPS, SCALES, turned
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from csc_data.challenge import get_tested_classes
from csc_data.loader import PatchLoader, get_dataloader
from csc_data.splits.split_file import SplitRow
from csc_models import create_model

GREY = 1 / 255
CROPS = 3
BENT = "rotated, scaled, elastic"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured, and with what.

    Attributes
    ----------
    device : str
    workers : int
        Processes of the CPU.
    rows : mapping
        Datasplits by the number of their classes.
    small : bool
        Whether all is tried out only.
    """

    device: str
    workers: int
    rows: Mapping[int, Sequence[SplitRow]]
    small: bool

    @property
    def sizes(self) -> dict[tuple[int, int, int], int]:
        """Shapes of patches, and how many make a batch."""
        if self.small:
            return {(16, 16, 16): 2, (1, 20, 20): 2}
        return {(128, 128, 128): 2, (64, 64, 64): 4, (1, 128, 128): 8}

    def poses(self, shape: tuple[int, int, int]) -> dict[str, dict[str, Any]]:
        """Return what is done to patches, by name; only some of it where it is tried out."""
        every = poses(shape)
        return {name: every[name] for name in ("rotated", BENT)} if self.small else every

    def loader(self, classes: int, shape: tuple[int, int, int], options: Mapping[str, Any], **more: Any) -> PatchLoader:
        """Return a loader of endless batches on the device."""
        given = {"device": self.device, "batch_size": self.sizes[shape], "iterations_per_epoch": 10**6}
        info = {"shape": shape, "scale": (8, 8, 8)}
        rows = self.rows[classes]
        return get_dataloader(rows, rows[0].classes, input_array_info=info, **{**given, **options, **more}).train

    def finish(self) -> None:
        """Wait until the device has done all that it was asked for."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def poses(shape: tuple[int, int, int]) -> dict[str, dict[str, Any]]:
    """Return what is done to patches, by name."""
    about, along = ("zyx", "zyx") if shape[0] > 1 else ("z", "yx")
    rotated = {**FLIPS, **turned(about)}
    bent = {**rotated, "scale": dict.fromkeys(along, SCALES), "elastic": ELASTIC}
    changes = {name: {} for name in ("gamma", "contrast", "brightness", "blur", "poisson_noise", "gaussian_noise")}
    return {
        "upright": {"spatial_transforms": FLIPS},
        "rotated": {"spatial_transforms": rotated},
        BENT: {"spatial_transforms": bent},
        "and intensities": {"spatial_transforms": bent, "intensity_transforms": changes},
    }


def compare(bench: Bench) -> None:
    """Print how far the device's batches are from the CPU's; stop where they are further than rounding explains."""
    print(
        f"\n{'gathered on the ' + bench.device + ', beside the CPU':<46}{'raw, voxels that differ':>26}{'labels':>12}"
    )
    for shape in bench.sizes:
        for name, options in bench.poses(shape).items():
            pair = [iter(bench.loader(5, shape, options, gather_on=place)) for place in ("cpu", "device")]
            raw, labels, most = [], [], 0.0
            for one, other, _ in zip(*pair, range(4), strict=False):
                difference = (one["input"] - other["input"]).abs()
                most = max(most, float(difference.max()))
                raw.append(float((difference > GREY / 100).double().mean()))
                same = (one["output"] == other["output"]) | (one["output"].isnan() & other["output"].isnan())
                labels.append(float((~same).double().mean()))
            print(f"{'x'.join(map(str, shape)) + ' ' + name:<46}{np.mean(raw):26.1e}{np.mean(labels):12.1e}")
            if most > 1.01 * GREY or np.mean(raw) > 1e-3 or np.mean(labels) > 1e-4:
                raise SystemExit(
                    f"the device gathers something else: raw differs by up to {most / GREY:.2f} grey levels"
                )


def clock(bench: Bench, loader: PatchLoader, batches: int) -> tuple[float, float]:
    """Return milliseconds a patch, of a clock and of this process's CPU, with all crops held."""
    running: Iterator[dict[str, Tensor]] = iter(loader)
    warm = 2 if bench.small else max(8, 2 * loader.num_workers) + 60 // loader.batch_size
    for _ in range(warm):
        next(running)
    bench.finish()
    start, used = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(running)
    bench.finish()
    count = batches * loader.batch_size / 1000
    return (time.perf_counter() - start) / count, (time.process_time() - used) / count


def print_table(bench: Bench) -> None:
    """Print what a patch costs, gathered here and there."""
    heads = ("CPU, 1 process", f"CPU, {bench.workers} workers", "GPU", "GPU, its CPU ms", "GPU, most GB")
    print(f"\n{'ms a patch':<52}" + "".join(f"{head:>18}" for head in heads))
    batches = 2 if bench.small else 50
    for shape in bench.sizes:
        for classes in bench.rows:
            for name, options in bench.poses(shape).items():
                make = partial(bench.loader, classes, shape, options)
                alone, _ = clock(bench, make(gather_on="cpu"), max(2, batches // 4))
                many, _ = clock(bench, make(gather_on="cpu", num_workers=bench.workers), batches)
                if bench.device.startswith("cuda"):
                    torch.cuda.reset_peak_memory_stats()
                there, used = clock(bench, make(gather_on="device"), batches)
                most = torch.cuda.max_memory_allocated() / 1e9 if bench.device.startswith("cuda") else 0.0
                row = "".join(f"{value:18.2f}" for value in (alone, many, there, used, most))
                print(f"{'x'.join(map(str, shape))} {classes} classes {name}".ljust(52) + row, flush=True)


class Training:
    """A network that learns from batches of one shape.

    Parameters
    ----------
    bench : Bench
    classes : int
    """

    def __init__(self, bench: Bench, classes: int) -> None:
        name = "3d_unet_s" if bench.small else "3d_unet"
        self.device = bench.device
        self.network = create_model(name, n_channels=1, n_classes=classes).to(bench.device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4)

    def step(self, batch: Mapping[str, Tensor]) -> None:
        """Learn from a batch."""
        target = batch["output"].to(self.device, non_blocking=True)
        raw = batch["input"].to(self.device, non_blocking=True)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            logits = self.network(raw)
        known = ~target.isnan()
        losses = binary_cross_entropy_with_logits(logits.float(), target.nan_to_num(), reduction="none")
        loss = (losses * known).sum() / known.sum().clamp(min=1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def step_seconds(bench: Bench, training: Training, batches: Iterator[Mapping[str, Tensor]]) -> float:
    """Return the seconds of a training step."""
    warm, count = (1, 2) if bench.small else (15 + 2 * bench.workers, 60)
    for _ in range(warm):
        training.step(next(batches))
    bench.finish()
    start = time.perf_counter()
    for _ in range(count):
        training.step(next(batches))
    bench.finish()
    return (time.perf_counter() - start) / count


def print_waiting(bench: Bench) -> None:
    """Print the share of training in which the device has nothing to learn from."""
    shape = next(iter(bench.sizes))
    ways = {
        f"dense, {bench.workers} workers": {"gather_on": "cpu", "num_workers": bench.workers, "device": None},
        f"packed, {bench.workers} workers": {"gather_on": "cpu", "num_workers": bench.workers},
        "gathered on the device": {"gather_on": "device"},
    }
    print(f"\n{'training, bf16, ' + BENT:<52}{'ms a step':>12}{'waits':>10}")
    for classes in bench.rows:
        training = Training(bench, classes)
        options = poses(shape)[BENT]
        ready = next(iter(bench.loader(classes, shape, options)))
        alone = step_seconds(bench, training, iter(lambda batch=ready: batch, None))
        print(f"{f'{classes} classes, a batch that is there':<52}{alone * 1e3:12.1f}")
        for name, given in ways.items():
            seconds = step_seconds(bench, training, iter(bench.loader(classes, shape, options, **given)))
            share = max(0.0, 1 - alone / seconds)
            print(f"{f'{classes} classes, {name}':<52}{seconds * 1e3:12.1f}{share:10.1%}", flush=True)


def ensure_rows(folder: Path, *, small: bool) -> dict[int, list[SplitRow]]:
    """Write crops with 5 and with 48 classes, and return the rows that name them."""
    chosen = {5: CLASSES} if small else {5: CLASSES, 48: tuple(get_tested_classes())}
    rng = np.random.default_rng(0)
    return {
        count: [write_crop(folder, rng, 10 * count + n, classes, 64 if small else 400) for n in range(CROPS)]
        for count, classes in chosen.items()
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data", type=Path, help="an empty folder for the volumes; a temporary one by default")
    parser.add_argument("--only", default="table,waiting", help="which tables")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("no GPU here: --device cpu tries this script out at small sizes")
        sys.exit(0)
    small = not arguments.device.startswith("cuda")
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.setdefault("XDG_CACHE_HOME", temporary)  # counts of classes are kept there
        rows = ensure_rows(arguments.data or Path(temporary), small=small)
        bench = Bench(device=arguments.device, workers=arguments.workers, rows=rows, small=small)
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if not small else 'CPU: small sizes'}")
        compare(bench)
        if "table" in arguments.only:
            print_table(bench)
        if "waiting" in arguments.only:
            print_waiting(bench)


if __name__ == "__main__":
    main()
