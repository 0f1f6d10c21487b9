"""What it costs to share the blocks of a prediction, and to write its files.

python benchmarks/predict_workers.py [--only ledger,files,speedup] [--folder DIR] [--workers 2]

`ledger`: milliseconds a block for claims and records, of one process and of two at once on the same folder. `files`:
seconds to write 10^9 voxels of one class, and how many files they are, in format 2 and in shards of several sizes,
block by block as predictions are. `speedup`: wall time of several processes over that of one, with a network that takes
its time on one core; on as many idle cores as processes. DIR is where files go: try the folder that a cluster shares.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csc_data.blocks import Block, BlockGrid, Execution, Ledger, prepare_output, run_blocks
from csc_data.executors import ProcessWorkers
from csc_data.geometry import Grid
from csc_data.volumes.output import OutputStorage, create_output, open_output_array

VOXELS = 10**9


def nothing(block: Block) -> None:
    """Take no time."""


@dataclass(frozen=True)
class Compute:
    """Keeps one core busy for a while, without other memory or disks, as a network does."""

    seconds: float

    def __call__(self, block: Block) -> None:
        """Compute."""
        ends = time.process_time() + self.seconds
        while time.process_time() < ends:
            sum(range(10_000))  # one core: a product of matrices would take those of the other process as well


@contextmanager
def clocked() -> Iterator[list[float]]:
    """Give a list that holds the seconds of wall time afterwards."""
    spent: list[float] = []
    began = time.perf_counter()
    yield spent
    spent.append(time.perf_counter() - began)


def share(path: Path, blocks: BlockGrid) -> None:
    """Do all blocks of a record, with whoever else does."""
    record = Ledger(path, {})
    prepare_output(record, "resume", lambda: None)
    run_blocks(nothing, blocks, ledger=record)


def ledger(folder: Path, workers: int) -> None:
    """Tell what claims and records take."""
    blocks = BlockGrid(shape=(4000, 1, 1), block_shape=(1, 1, 1))
    with clocked() as alone:
        share(folder / "alone.ledger", blocks)
    with ProcessWorkers(workers) as processes, clocked() as shared:
        for future in [processes.submit(share, folder / "shared.ledger", blocks) for _ in range(workers)]:
            future.result()
    for name, (seconds,) in (("one process", alone), (f"{workers} at once", shared)):
        print(f"claims and records, {name}: {seconds / len(blocks) * 1e3:.2f} ms a block")


def files(folder: Path, workers: int) -> None:
    """Tell what writing takes, by format; part of 10^9 voxels is written."""
    size, block_shape = 576, (576, 288, 288)
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(size, 2 * size, 2 * size))
    coarse = np.random.default_rng(0).integers(0, 255, tuple(n // 12 for n in block_shape)).astype(np.uint8)
    values = coarse.repeat(12, 0).repeat(12, 1).repeat(12, 2)
    values[::3] //= 2
    for shards in (None, 576, 1152):
        form = {} if shards is None else {"format": 3, "shards": (shards,) * 3}
        storage = OutputStorage(dtype="u1", chunks=(96, 96, 96), **form)
        path = folder / f"{shards}.zarr" / "mito"
        create_output(path, [grid], storage)
        array = open_output_array(path / "s0")
        with clocked() as spent:
            for block in BlockGrid(shape=grid.shape, block_shape=storage.fit_block(block_shape, grid.shape)):
                array[block.write] = values[tuple(slice(n) for n in block.shape)]
        large = storage.count_files((10_000,) * 3)
        seconds = spent[0] * VOXELS / grid.size
        print(f"shards {shards}: {seconds:.1f} s for 10^9 voxels of a class; 10^12 are {large} files")


def speedup(folder: Path, workers: int) -> None:
    """Tell what more processes bring."""
    blocks = BlockGrid(shape=(24, 1, 1), block_shape=(1, 1, 1))
    times = []
    for count in (1, workers):
        with ProcessWorkers(count, threads=1) as processes:
            for future in [processes.submit(os.getpid) for _ in range(4 * count)]:  # they start
                future.result()
            record = Ledger(folder / f"{count}.ledger", {})
            record.start()
            with clocked() as spent:
                execution = Execution(executor=processes, max_pending=count + 1)
                run_blocks(Compute(0.5), blocks, ledger=record, execution=execution)
            times += spent
    ratio = times[0] / times[1]
    met = "met" if ratio >= 0.9 * workers else "MISSED"
    print(f"{workers} processes: {ratio:.2f} times one (bar {0.9 * workers:.1f}: {met})")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="ledger,files,speedup")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in arguments.only.split(","):
            {"ledger": ledger, "files": files, "speedup": speedup}[name](Path(folder), arguments.workers)


if __name__ == "__main__":
    main()
