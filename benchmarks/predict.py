"""What prediction costs beside the network, and how well windows fit together.

python benchmarks/predict.py [--size 256] [--patch 128] [--classes 5] [--only overhead,wall,...]
python benchmarks/predict.py --only seams --checkpoint FILE --raw VOLUME
python benchmarks/predict.py --device cuda --precision bf16-mixed --only speed

`overhead`: CPU outside the network for each 128^3 voxels that are written, with reading, sigmoid, compressing and
writing; the network takes no time here. `memory`: the most beside the network, by classes. `wall`: with a network
that takes its time, wall time over the network's own. `passes`: windows of one block's region and of 1000^3, against
MONAI's. `blending`: CPU of the same windows by MONAI's `sliding_window_inference`. `seams`: jumps at faces of windows
over those of the same voxels where windows lie elsewhere, of a trained network where a checkpoint is given. `speed`:
voxels a second with a 3d_unet, and its share of the time. All arrays are noise, smoothed; several turns of everything
are taken, and the best is told.
"""

from __future__ import annotations

import argparse
import gc
import math
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from csc_data.blocks import Block, BlockGrid
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid, as_shape
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.volumes import Level, Volume, open_volume, write_multiscale
from csc_models import create_model
from csc_models.checkpoint import OutputDescription
from csc_train import predict_array
from csc_train.prediction.blocks import BlockJob, block_bytes, plan_block_shape
from csc_train.prediction.predictor import Predictor, load_predictor
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import Placement, Windows, plan_windows, windows_of
from csc_train.settings import PredictSettings

BLOCK = 128**3
TURNS = 4


class Spread(nn.Module):
    """Gives as many classes as asked, in no time: views of what it gave the first time."""

    def __init__(self, classes: int, seconds: float = 0.0) -> None:
        super().__init__()
        self.classes, self.seconds = classes, seconds
        self.spent = np.zeros(2)
        self._held: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give logits; what that costs is noted."""
        began = np.array([time.perf_counter(), time.thread_time()])
        if self._held is None or self._held.shape[2:] != x.shape[2:] or len(self._held) < len(x):
            generator = torch.Generator().manual_seed(0)
            coarse = torch.randn((len(x), self.classes, *(max(2, n // 8) for n in x.shape[2:])), generator=generator)
            self._held = nn.functional.interpolate(3 * coarse, size=tuple(x.shape[2:]), mode="trilinear")
        time.sleep(self.seconds * len(x))
        self.spent += np.array([time.perf_counter(), time.thread_time()]) - began
        return self._held[: len(x)]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Raw on the disk, and how it is to be predicted."""

    folder: Path
    size: int
    patch: int
    classes: int
    device: str
    precision: str
    batch: int

    def raw(self) -> Any:
        """Write raw of noise, once, and open it."""
        path = self.folder / "raw.zarr"
        if not path.exists():
            rng = np.random.default_rng(0)
            coarse = torch.from_numpy(rng.random((1, 1, *[-(-self.size // 8)] * 3), dtype=np.float32))
            values = nn.functional.interpolate(coarse, scale_factor=8, mode="trilinear")[0, 0].numpy()
            values = values[: self.size, : self.size, : self.size] * 200 + rng.random((self.size,) * 3) * 50
            grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(self.size,) * 3)
            write_multiscale(path, [values.astype(np.uint8)], [grid], chunks=(64, 64, 64))
        return open_volume(path)

    def predictor(self, network: nn.Module, **settings: Any) -> Predictor:
        """Return the predictor of a network."""
        info = ArrayInfo(shape=(self.patch,) * 3, scale=(8, 8, 8))
        options = {"device": self.device, "precision": self.precision, "batch_size": self.batch, **settings}
        classes = tuple(f"class{number}" for number in range(self.classes))
        return Predictor(
            networks=(network,),
            checkpoint=None,
            identity="",
            classes=classes,
            outputs=(OutputDescription(name="output", channels=classes),),
            patch=PatchShape(input=info, target=info),
            raw_range=(0.0, 1.0),
            settings=PredictSettings(**options),
        )

    def job(self, predictor: Predictor, name: str) -> tuple[BlockJob, BlockGrid]:
        """Return what predicts all of raw, and its blocks."""
        raw = self.raw()
        grid = raw.levels[0].grid
        windows = windows_of(predictor.patch, predictor.settings)
        paths = tuple(self.folder / f"{name}.zarr" / each for each in predictor.classes)
        for path in paths:
            create_array(path, shape=grid.shape, dtype="u1", chunks=windows.step, overwrite=True, level=1)
        job = BlockJob(
            source=NetworkSource(given=predictor),
            name=name,
            raw=raw,
            stored=grid.bounds,
            windows=windows,
            grid=grid,
            output=grid,
            classes=predictor.classes,
            arrays=paths,
        )
        most = block_bytes(len(paths), 1)
        shape = plan_block_shape(windows, classes=len(paths), itemsize=1, chunks=windows.step, most_bytes=most)
        return job, BlockGrid(shape=grid.shape, block_shape=shape)


def clocked(work: Callable[[], Any]) -> np.ndarray[Any, Any]:
    """Return wall and CPU seconds of some work, the best of `TURNS`."""
    turns = []
    for _ in range(TURNS):
        began = np.array([time.perf_counter(), time.process_time()])
        work()
        turns.append(np.array([time.perf_counter(), time.process_time()]) - began)
    return np.min(turns, axis=0)


class Memory:
    """Watches how much more memory this process holds than when it began, in MB (Linux)."""

    def __enter__(self) -> Memory:
        gc.collect()
        self.most, self._before, self._stop = 0.0, self._held(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _held(self) -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, self._held() - self._before)


def told(met: bool, bar: str) -> str:
    """Return whether a bar was met."""
    return f"(bar {bar}: {'met' if met else 'MISSED'})"


def run_all(job: BlockJob, blocks: BlockGrid) -> None:
    """Predict all blocks in this process."""
    for block in blocks:
        job(block)


def overhead(bench: Bench) -> None:
    """Tell the CPU outside the network."""
    for overlap, bar in ((0.0, 100), (0.25, None), (0.5, 200)):
        network = Spread(bench.classes)
        job, blocks = bench.job(bench.predictor(network, overlap=overlap, halo=(0, 0, 0)), "overhead")
        run_all(job, BlockGrid(shape=blocks.shape, block_shape=blocks.block_shape))  # compiles, fills caches
        network.spent[:] = 0
        with Memory() as memory:
            spent = clocked(lambda job=job, blocks=blocks: run_all(job, blocks))
        cpu = (spent[1] - network.spent[1] / TURNS) / (bench.size**3 / BLOCK) * 1e3
        line = f"overlap {overlap:4}: {cpu:6.0f} ms CPU a 128^3 of {bench.classes} classes"
        print(line, told(cpu <= bar, f"{bar} ms") if bar else "")
        print(f"    {memory.most:.0f} MB beside the network", told(memory.most < 600, "600 MB"))


def memory(bench: Bench) -> None:
    """Tell the most memory beside the network, and what blocks of that memory cost in windows, by classes.

    Run it by itself: what others have freed, and the system has not taken back, blurs it.
    """
    for classes in (5, 10, 14, 48):
        wide = replace(bench, classes=classes, size=max(bench.size, 384))
        job, blocks = wide.job(wide.predictor(Spread(classes)), "memory")
        (placement,) = job.windows.place((1000,) * 3)
        whole = BlockGrid(shape=(1000,) * 3, block_shape=blocks.block_shape)
        once = math.prod(map(len, placement.starts))
        times = sum(count_windows_of(placement, block) for block in whole) / once
        job(blocks[0])  # compiles, fills caches
        with Memory() as held:
            job(blocks[0])
        shape = "x".join(map(str, blocks.block_shape))
        verdict = told(held.most < 600, "600 MB")
        print(
            f"{classes} classes: {held.most:.0f} MB beside the network {verdict}; blocks of {shape}: {times:.2f} times"
        )


def wall(bench: Bench) -> None:
    """Tell wall time over the network's, where it takes 0.7 s for 128^3 voxels on another core."""
    per_window = 0.7 * bench.patch**3 / BLOCK
    network = Spread(bench.classes, per_window)
    job, blocks = bench.job(bench.predictor(network, batch_size=1), "wall")
    predict_array(job.source.given, np.zeros((4, 4, 4), np.uint8))  # compiles
    network.spent[:] = 0
    began = time.perf_counter()
    run_all(job, blocks)
    ratio = (time.perf_counter() - began) / network.spent[0]
    print(f"wall over network {ratio:.3f}", told(ratio <= 1.05, "1.05"))


def count_windows_of(placement: Placement, block: Block) -> int:
    """Return how many windows a block does."""
    return math.prod(
        map(len, placement.touching(block.begin, [b + n for b, n in zip(block.begin, block.shape, strict=True)]))
    )


def passes(bench: Bench) -> None:
    """Compare numbers of windows with MONAI's."""
    from monai.data.utils import dense_patch_slices

    for overlap in (0.25, 0.5):
        info = ArrayInfo(shape=(bench.patch,) * 3, scale=(8, 8, 8))
        windows = plan_windows(PatchShape(input=info, target=info), overlap=overlap)
        block = plan_block_shape(windows, classes=bench.classes, itemsize=1, chunks=windows.step)
        for what, shape in (("one block's region", block), ("1000^3", (1000,) * 3)):
            (placement,) = windows.place(shape)
            ours = sum(count_windows_of(placement, b) for b in BlockGrid(shape=shape, block_shape=block))
            theirs = len(dense_patch_slices(shape, (bench.patch,) * 3, windows.step))
            most = 1.0 if shape == block else 2.1
            verdict = told(ours <= most * theirs, f"{most} times")
            print(f"overlap {overlap}, {what}: {ours} passes, MONAI {theirs}, {ours / theirs:.2f} times", verdict)


def blending(bench: Bench) -> None:
    """Compare the CPU of predicting an array in one piece with MONAI's, network and reading taken off both."""
    from monai.inferers import sliding_window_inference

    values = np.asarray(bench.raw().levels[0].array[...])
    for overlap in (0.25, 0.5):
        network = Spread(bench.classes)
        predictor = bench.predictor(network, overlap=overlap, output_dtype="float32")
        predict_array(predictor, values[: bench.patch, : bench.patch, : bench.patch])
        network.spent[:] = 0
        ours = clocked(lambda p=predictor: predict_array(p, values))[1] - network.spent[1] / TURNS
        network.spent[:] = 0
        given = torch.from_numpy(values.astype(np.float32) / 255)[None, None]

        def by_monai(given: torch.Tensor = given, overlap: float = overlap, network: Spread = network) -> None:
            with torch.inference_mode():
                sliding_window_inference(
                    given, (bench.patch,) * 3, bench.batch, lambda x: network(x).sigmoid(), overlap, mode="gaussian"
                )

        theirs = clocked(by_monai)[1] - network.spent[1] / TURNS
        verdict = told(ours <= 1.2 * theirs, "1.2 times")
        print(
            f"blending, overlap {overlap}: {ours:.2f} s CPU, MONAI {theirs:.2f} s, {ours / theirs:.2f} times", verdict
        )


def seams(bench: Bench, checkpoint: Path | None, volume: Path | None) -> None:
    """Tell jumps at the faces of windows over jumps elsewhere."""
    if checkpoint is not None:
        predictor = load_predictor(checkpoint, device=bench.device, output_dtype="float32")
    else:
        torch.manual_seed(0)
        network = create_model("3d_unet_s", n_channels=1, n_classes=bench.classes)
        predictor = replace(bench, patch=32).predictor(network.eval(), output_dtype="float32")
    raw = (open_volume(volume) if volume else bench.raw()).level_for(predictor.patch.input.scale)
    edge = min(*raw.array.shape, 6 * predictor.patch.input.shape[1])
    values = np.asarray(raw.array[:edge, :edge, :edge])
    for overlap, blend in ((0.0, "constant"), (0.25, "gaussian"), (0.5, "gaussian")):
        settings = replace(predictor.settings, overlap=overlap, blending=blend, halo=(0, 0, 0))
        changed = replace(predictor, settings=settings)
        windows = windows_of(changed.patch, settings)
        half = as_shape([step // 2 for step in windows.step])
        found, elsewhere = (predict_placed(changed, values, replace(windows, shift=by)) for by in ((0, 0, 0), half))
        ratio = seam_ratio(found, elsewhere, windows.place(found.shape[1:])[0])
        verdict = told(ratio <= 1.02, "1.02") if overlap else ""
        print(f"seams, overlap {overlap}, {blend}: {ratio:.3f}", verdict)


def predict_placed(predictor: Predictor, values: np.ndarray[Any, Any], windows: Windows) -> np.ndarray[Any, Any]:
    """Return what is predicted of an array with windows where they are asked for."""
    grid = Grid(voxel_size=windows.patch.input.scale, translation=(0, 0, 0), shape=values.shape)
    raw = Volume(path="raw", levels=(Level(name="s0", grid=grid, array=values),), attributes={})
    source = NetworkSource(given=predictor)
    job = BlockJob(
        source=source, name="raw", raw=raw, stored=grid.bounds, windows=windows, grid=grid, output=grid,
        classes=predictor.arrays,
    )  # fmt: skip
    try:
        return job.compute(next(iter(BlockGrid(shape=grid.shape, block_shape=grid.shape))))
    finally:
        source.release()


def seam_ratio(values: np.ndarray[Any, Any], elsewhere: np.ndarray[Any, Any], placement: Placement) -> float:
    """Return mean jumps between neighbours where a window begins or ends, over those of the same voxels elsewhere.

    What is near a face cannot be compared with it: in the middle of an overlap values are means of two windows, and
    jumps are 3 % smaller by that. So each voxel is compared with itself in a prediction whose windows begin and end
    elsewhere.
    """
    at = []
    for axis in range(3):
        others = tuple(a for a in range(4) if a != axis + 1)
        jumps = [
            np.abs(np.diff(each.astype(np.float64), axis=axis + 1)).mean(axis=others) for each in (values, elsewhere)
        ]
        ends = {face for start in placement.starts[axis] for face in (start, start + placement.size[axis])}
        at += [[along[face - 1] for along in jumps] for face in ends if 0 < face < values.shape[axis + 1]]
    ours, same = np.mean(at, axis=0)
    return float(ours / same)


def speed(bench: Bench) -> None:
    """Tell voxels a second with a network of this size, and by MONAI's inferer."""
    from monai.inferers import sliding_window_inference

    network = create_model("3d_unet", n_channels=1, n_classes=bench.classes).eval()
    job, blocks = bench.job(bench.predictor(network, overlap=0.25), "speed")
    ready = job.source.load()
    given = torch.rand((bench.batch, 1, *[bench.patch] * 3), device=ready.fabric.device)

    def forward() -> None:
        with torch.inference_mode(), ready.fabric.autocast():
            network(given)
        if ready.fabric.device.type == "cuda":
            torch.cuda.synchronize()

    forward()
    one = clocked(forward)[0] / bench.batch
    job(blocks[0])
    ours = clocked(lambda: run_all(job, blocks))[0]
    (placement,) = job.windows.place(job.grid.shape)
    count = sum(count_windows_of(placement, block) for block in blocks)
    print(f"{bench.size**3 / ours / 1e6:.1f} million voxels a second; the network's share {one * count / ours:.0%}")
    values = torch.from_numpy(np.asarray(bench.raw().levels[0].array[...]))[None, None]

    def by_monai() -> None:
        device = ready.fabric.device
        with torch.inference_mode(), ready.fabric.autocast():
            sliding_window_inference(
                values.float() / 255, (bench.patch,) * 3, bench.batch, lambda x: network(x).sigmoid(), 0.25,
                mode="gaussian", sw_device=device, device="cpu",
            )  # fmt: skip

    print(f"MONAI, in memory: {bench.size**3 / clocked(by_monai)[0] / 1e6:.1f} million voxels a second")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--raw", type=Path, help="a volume that the checkpoint knows, for seams")
    parser.add_argument("--only", default="overhead,wall,passes,blending,seams")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(
            folder=Path(temporary), size=given.size, patch=given.patch, classes=given.classes, device=given.device,
            precision=given.precision, batch=given.batch,
        )  # fmt: skip
        reports = {
            "overhead": overhead,
            "memory": memory,
            "wall": wall,
            "passes": passes,
            "blending": blending,
            "speed": speed,
        }
        for name in given.only.split(","):
            if name == "seams":
                seams(bench, given.checkpoint, given.raw)
            else:
                reports[name](bench)


if __name__ == "__main__":
    main()
