"""The tables: what was measured, and whether it meets the bars."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from loader.measuring import NotInstalledError, Result, Runner
from loader.ours import can_pack
from loader.works import AUGMENTED, ELASTICALLY, FEW_SPLIT, MANY, MANY_SPLIT, ROTATED, SCALED, SMALL, WORKS

SERVER = Path(__file__).parents[2] / "packages" / "csc-data" / "tests" / "s3_server.py"
SLOWER_THAN_ROTATED = {SCALED: 1.3, ELASTICALLY: 2.0}
FASTER_THAN_LIBRARIES = {SCALED: 8.0}


def verdict(value: float, bar: float, *, at_most: bool = False) -> str:
    """Return a bar, and whether it is met."""
    met = value <= bar if at_most else value >= bar
    return f"{'<=' if at_most else '>='} {bar:g} {'met' if met else 'MISSED'}"


def row(title: str, *cells: tuple[object, int]) -> str:
    """Return a line of cells, each with its width."""
    return f"{title:38}" + "".join(f"{cell:>{width}}" for cell, width in cells)


def tell(line: str) -> None:
    """Print a line at once: the next may take minutes."""
    print(line, flush=True)


def report_works(runner: Runner, names: Sequence[str]) -> None:
    """Print CPU seconds beside cellmap-data's."""
    heads = ("theirs", 9), ("warm", 9), ("times", 8), ("bar", 15), ("cold", 9), ("times", 8), ("bar", 15), ("GB", 6)
    tell(row("CPU ms a patch, beside cellmap-data", *heads, ("bar", 12)))
    for name in names:
        work = WORKS.get(name)
        if work is None:
            continue
        theirs, warm, cold = (runner.run(part, name) for part in ("cellmap", "warm", "cold"))
        warm_times, cold_times = theirs.cpu / warm.cpu, theirs.cpu / cold.cpu
        cold_bar = "" if work.cold_bar is None else verdict(cold_times, work.cold_bar)
        memory = max(warm.memory, cold.memory)
        cells = [(f"{theirs.cpu * 1e3:.1f}", 9), (f"{warm.cpu * 1e3:.2f}", 9), (f"{warm_times:.1f}", 8)]
        cells += [(verdict(warm_times, work.warm_bar or 0), 15), (f"{cold.cpu * 1e3:.2f}", 9), (f"{cold_times:.1f}", 8)]
        cells += [(cold_bar, 15), (f"{memory:.2f}", 6), (verdict(memory, 1, at_most=True), 12)]
        tell(row(name, *cells))


def report_augmentation(runner: Runner, names: Sequence[str]) -> None:
    """Print CPU seconds of rotation, scale and displacement beside those of augmentation libraries."""
    heads = ("MONAI", 9), ("nnU-Net", 9), ("dense", 9), ("packed", 9), ("to rotated", 12), ("bar", 14)
    tell("\n" + row("CPU ms a patch of crops in memory", *heads, ("times MONAI, nnU-Net", 22), ("bar", 12)))
    alone: Result | None = None
    for name in (name for name in AUGMENTED if name in names or name == ROTATED):
        dense = runner.run("warm", name)
        alone = alone or dense
        packed = runner.run("packed", name) if can_pack() else None
        ours, ratio = packed or dense, dense.cpu / alone.cpu
        libraries = [_of_library(runner, part, name) for part in ("monai", "nnunet")]
        times = [None if result is None else result.cpu / ours.cpu for result in libraries]
        slower, faster = SLOWER_THAN_ROTATED.get(name), FASTER_THAN_LIBRARIES.get(name)
        known = [value for value in times if value is not None]
        cells = [(_milliseconds(result), 9) for result in (*libraries, dense, packed)]
        cells += [(f"{ratio:.2f}", 12), ("" if slower is None else verdict(ratio, slower, at_most=True), 14)]
        cells += [(", ".join("-" if value is None else f"{value:.1f}" for value in times), 22)]
        cells += [("" if faster is None or not known else verdict(min(known), faster), 12)]
        tell(row(name, *cells))


def _of_library(runner: Runner, part: str, name: str) -> Result | None:
    try:
        return runner.run(part, name)
    except NotInstalledError as error:
        tell(str(error))
        return None


def _milliseconds(result: Result | None) -> str:
    return "-" if result is None else f"{result.cpu * 1e3:.2f}"


def report_many(runner: Runner, names: Sequence[str]) -> None:
    """Print what 288 crops cost that do not fit into the cache, against 3 that do."""
    tell("\n" + row("CPU ms a patch, 4 GB of cache", ("3 crops", 9), ("288", 9), ("times", 8), ("bar", 14), ("GB", 8)))
    counted = str(runner.folder / "counts")  # once, as in the user's cache
    few, many = (runner.run("many", MANY, split, XDG_CACHE_HOME=counted) for split in (FEW_SPLIT, MANY_SPLIT))
    times = many.cpu / few.cpu
    cells = [(f"{few.cpu * 1e3:.2f}", 9), (f"{many.cpu * 1e3:.2f}", 9), (f"{times:.2f}", 8)]
    tell(row(MANY, *cells, (verdict(times, 1.3, at_most=True), 14), (f"{many.memory:.2f}", 8)))


def report_classes(runner: Runner, names: Sequence[str]) -> None:
    """Print what 48 classes cost against 5, and how many bytes of a batch go to the device."""
    form = "packed" if can_pack() else "dense"
    heads = ("5 classes", 10), ("48", 9), ("times", 8), ("bar", 14), ("MB a batch", 12), ("dense", 9)
    tell("\n" + row(f"CPU ms a patch, {form} labels", *heads, ("times", 8), ("bar", 14)))
    five = runner.run("packed" if can_pack() else "warm", ROTATED)
    every, dense = (runner.run("all_classes", ROTATED, form) for form in (form, "dense"))
    times, less = every.cpu / five.cpu, dense.batch_bytes / every.batch_bytes
    cells = [(f"{five.cpu * 1e3:.2f}", 10), (f"{every.cpu * 1e3:.2f}", 9), (f"{times:.2f}", 8)]
    cells += [(verdict(times, 1.3, at_most=True), 14), (f"{every.batch_bytes / 1e6:.2f}", 12)]
    cells += [(f"{dense.batch_bytes / 1e6:.1f}", 9), (f"{less:.1f}", 8), (verdict(less, 40), 14)]
    tell(row(ROTATED, *cells))


def report_workers(runner: Runner, names: Sequence[str]) -> None:
    """Print what a second worker brings, and the CPU time that it cannot share: that of the process that trains."""
    heads = ("1 worker", 9), ("2", 9), ("times", 8), ("bar", 14), ("own CPU", 9), ("GB", 7), ("2", 7), ("times", 8)
    tell("\n" + row("wall ms a patch, and memory", *heads, ("bar", 14)))
    for name in (name for name in names if name in WORKS):
        one, two = (runner.run("workers", name, str(count)) for count in (1, 2))
        times, memory = one.wall / two.wall, two.memory / one.memory
        cells = [(f"{one.wall * 1e3:.2f}", 9), (f"{two.wall * 1e3:.2f}", 9), (f"{times:.2f}", 8)]
        cells += [(verdict(times, 1.7), 14), (f"{two.cpu * 1e3:.2f}", 9), (f"{one.memory:.2f}", 7)]
        cells += [(f"{two.memory:.2f}", 7), (f"{memory:.2f}", 8), (verdict(memory, 1.2, at_most=True), 14)]
        tell(row(name, *cells))


def report_growth(runner: Runner, names: Sequence[str]) -> None:
    """Print the memory of a process that gives very many samples."""
    result = runner.run("growth", SMALL, repeats=1)
    tell("\n" + row("memory after many samples", ("CPU ms", 9), ("GB", 8), ("times", 8), ("bar", 15)))
    cells = [(f"{result.cpu * 1e3:.3f}", 9), (f"{result.memory:.2f}", 8), (f"{result.grown:.3f}", 8)]
    tell(row(SMALL, *cells, (verdict(result.grown, 1.02, at_most=True), 15)))


def report_first(runner: Runner, names: Sequence[str]) -> None:
    """Print how long the first batch takes above the imports that nobody can do without, and with nothing compiled."""
    heads = ("wall", 9), ("CPU", 8), ("imports", 9), ("above", 8), ("bar", 15), ("compiled anew", 15), ("CPU", 8)
    tell("\n" + row("s to the first batch", *heads))
    for name in (name for name in names if name in WORKS):
        imports, known = runner.run("imports", name), runner.run("first", name)
        with tempfile.TemporaryDirectory() as cache:
            anew = runner.run("first", name, repeats=1, NUMBA_CACHE_DIR=cache)
        above = known.cpu - imports.cpu
        cells = [(f"{known.wall:.2f}", 9), (f"{known.cpu:.2f}", 8), (f"{imports.cpu:.2f}", 9), (f"{above:.2f}", 8)]
        cells += [(verdict(above, 1.5, at_most=True), 15), (f"{anew.wall:.2f}", 15), (f"{anew.cpu:.2f}", 8)]
        tell(row(name, *cells))


def report_streaming(runner: Runner, names: Sequence[str]) -> None:
    """Print the rates from S3 with 30 ms latency and from files."""
    folder = runner.folder
    text = (folder / FEW_SPLIT).read_text("utf-8").replace(str(folder / "data"), "s3://data")
    (folder / "s3.csv").write_text(text, "utf-8")
    heads = ("files", 9), ("S3", 9), ("share", 8), ("bar", 15), ("first s", 9), ("a cold patch s", 16)
    tell("\n" + row("S3 at 30 ms, wall ms a patch", *heads, ("requests", 10), ("at once", 9)))
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), "--latency", "0.03"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        s3 = {"FSSPEC_S3_ENDPOINT_URL": json.loads(server.stdout.readline())["endpoint"]}
        for name in (name for name in names if name in WORKS):
            local, remote = runner.run("warm", name).wall, runner.run("warm", name, "s3.csv", **s3).wall
            first = runner.run("first", name, "s3.csv", repeats=1, **s3).wall
            cold = runner.run("requests", name, repeats=1, **s3)
            cells = [(f"{local * 1e3:.2f}", 9), (f"{remote * 1e3:.2f}", 9), (f"{local / remote:.2f}", 8)]
            cells += [(verdict(local / remote, 0.8), 15), (f"{first:.2f}", 9), (f"{cold.wall:.2f}", 16)]
            tell(row(name, *cells, (cold.requests, 10), (cold.at_once, 9)))
        server.stdin.close()


REPORTS: dict[str, Callable[[Runner, Sequence[str]], None]] = {
    "works": report_works,
    "augmentation": report_augmentation,
    "many": report_many,
    "classes": report_classes,
    "workers": report_workers,
    "growth": report_growth,
    "first": report_first,
    "s3": report_streaming,
}
