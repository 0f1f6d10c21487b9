"""What it takes until `csc visualize --live` has drawn something: the link, the first blocks, memory.

    python benchmarks/live.py [--data DIR --live NETWORK]

Without a data folder raw is made up, and the network is the demo's, untrained: it costs the same. The process is that
of the command. Blocks are asked for by HTTP where the view begins: the first one, the same one of another class, its
neighbour, and then four at a time, which is as many as wait. Bar: the first block on the CPU after 3 s.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

EDGE = 400
CLASSES = ("mito_mem", "mito_lum", "ves_mem", "ves_lum", "ld_lum", "er_mem", "ves", "mito")


def make_up(folder: Path) -> list[str]:
    """Write raw and a checkpoint; return the options that show them."""
    import numpy as np
    import torch

    from csc_data.geometry import Grid
    from csc_data.volumes import write_multiscale
    from csc_models import create_model
    from csc_models.checkpoint import CheckpointDescription, save_checkpoint

    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(EDGE,) * 3)
    raw = np.random.default_rng(0).integers(0, 256, grid.shape, dtype="u1")
    write_multiscale(folder / "raw", [raw], [grid])
    torch.manual_seed(0)
    network = create_model("3d_unet_s", n_channels=1, n_classes=len(CLASSES), depth=4, norm="batch")
    array = {"raw": {"shape": (40, 40, 40), "scale": (8.0, 8.0, 8.0)}}
    described = CheckpointDescription(classes=CLASSES, input_arrays=array, target_arrays=array, raw_range=(0.0, 1.0))
    save_checkpoint(folder / "network.pth", network, description=described)
    return ["--volume", str(folder / "raw"), "--live", str(folder / "network.pth")]


def nearest_blocks(address: str, position: Sequence[float]) -> tuple[list[str], tuple[int, ...]]:
    """Return the names of the blocks around the place at which a view begins, and the shape of blocks."""
    array = json.loads(fetched(f"{address}0/.zarray"))
    (level, *_) = json.loads(fetched(f"{address}.zattrs"))["multiscales"][0]["datasets"]
    scale, place = (next(iter(v for k, v in t.items() if k != "type")) for t in level["coordinateTransformations"])
    chunks = tuple(array["chunks"])
    at = [(p - t) / s / c for p, t, s, c in zip(position, place, scale, chunks, strict=True)]
    every = itertools.product(*(range(-(-n // c)) for n, c in zip(array["shape"], chunks, strict=True)))
    near = sorted(every, key=lambda index: sum((i + 0.5 - a) ** 2 for i, a in zip(index, at, strict=True)))
    return [".".join(map(str, index)) for index in near], chunks


def fetched(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=300) as answer:
        content: bytes = answer.read()
    return content


def used(pid: int) -> tuple[float, float]:
    """Return CPU seconds and the most memory in MB of a process so far, as Linux tells them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{pid}/status").read_text()
    most = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return ticks / os.sysconf("SC_CLK_TCK"), most / 1024


def measure(options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "csc_cli", "visualize", "--no-browser", *options]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})

    def tell(what: str, begun: float, cpu: float) -> None:
        now, memory = used(process.pid)
        print(f"{what:<34}{time.perf_counter() - begun:7.2f} s{now - cpu:7.2f} s CPU{memory:7.0f} MB")

    def timed(what: str, work: Any) -> None:
        cpu, _ = used(process.pid)
        begun = time.perf_counter()
        work()
        tell(what, begun, cpu)

    try:
        assert process.stdout is not None
        link = next(line.strip() for line in process.stdout if line.startswith("http"))
        tell("the link", begun, 0.0)
        state = json.loads(fetched(f"{link}state/0"))
        places = [
            layer["source"][0]["url"].partition("://")[2] for layer in state["layers"] if "(live)" in layer["name"]
        ]
        blocks, chunks = nearest_blocks(places[0], state["position"][::-1])
        print(f"{len(places)} classes, blocks of {'x'.join(map(str, chunks))} voxels")
        timed("the first block", lambda: fetched(f"{places[0]}0/{blocks[0]}"))
        timed("the same of another class", lambda: fetched(f"{places[-1]}0/{blocks[0]}"))
        timed("its neighbour", lambda: fetched(f"{places[0]}0/{blocks[1]}"))
        more = [f"{places[0]}0/{block}" for block in blocks[2:6]]
        with ThreadPoolExecutor(len(more)) as browser:
            timed(f"{len(more)} more", lambda: list(browser.map(fetched, more)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="a data folder, such as the demo's")
    parser.add_argument("--live", help="a checkpoint")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.data:
            measure(["--data", given.data, "--live", given.live])
        else:
            measure(make_up(Path(folder)))


if __name__ == "__main__":
    main()
