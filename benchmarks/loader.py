"""The loader against cellmap-data's own: CPU seconds a patch, memory, workers, the first batch, streaming.

python benchmarks/loader.py [--only TEXT] [--reports works,first,s3,workers] [--data FOLDER]

Five classes at 8 nm from annotations at 4 nm that have an 8 nm level, in three crops of 400^3 voxels (1.6 um); one
thread and no workers where not said otherwise. Both loaders draw with class balance and give collated batches; both
read files that the operating system holds. `warm`: crops are decoded already. `cold`: our cache is emptied before each
patch (cellmap-data has none). Every measurement is a process of its own, so its peak memory is that of the work,
imports included; the least of two is told. The S3 server is that of csc-data's tests, in a process of its own on the
same machine; it is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("ecs", "mito", "er", "nuc", "ves")
CROPS = 3
SIDE = 400  # voxels of 4 nm
MARGIN = 64  # raw around a crop, in voxels of 4 nm
SERVER = Path(__file__).parents[1] / "packages" / "csc-data" / "tests" / "s3_server.py"
# Linux counts in units of 1024 bytes, macOS in bytes.
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024

FLIPS = {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}}
FLAT_FLIPS = {"mirror": {"axes": {"x": 0.5, "y": 0.5}}}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What both loaders are asked for, how many patches of it, and how many times theirs ours must be."""

    shape: tuple[int, int, int]
    transforms: dict[str, Any]
    batch_size: int
    ours: int
    theirs: int
    warm_bar: float
    cold_bar: float | None = None


def turned(axes: str) -> dict[str, Any]:
    """Return a rotation by any angle about the axes."""
    return {"rotate": {"axes": {axis: [-180, 180] for axis in axes}}}


WORKS = {
    "128^3, rotated about all axes": Work(
        shape=(128, 128, 128), transforms={**FLIPS, **turned("zyx")}, batch_size=2, ours=48, theirs=8,
        warm_bar=40, cold_bar=20,
    ),
    "64^3, rotated about all axes": Work(
        shape=(64, 64, 64), transforms={**FLIPS, **turned("zyx")}, batch_size=4, ours=200, theirs=40,
        warm_bar=35, cold_bar=9,
    ),
    "(1, 128, 128), rotated in its plane": Work(
        shape=(1, 128, 128), transforms={**FLAT_FLIPS, **turned("z")}, batch_size=8, ours=2000, theirs=200,
        warm_bar=30,
    ),
    "128^3, not rotated": Work(
        shape=(128, 128, 128), transforms=FLIPS, batch_size=2, ours=48, theirs=20, warm_bar=3
    ),
    "(1, 128, 128), not rotated": Work(
        shape=(1, 128, 128), transforms=FLAT_FLIPS, batch_size=8, ours=2000, theirs=400, warm_bar=10
    ),
}  # fmt: skip


def write_data(folder: Path) -> None:
    """Write raw and annotations of all crops, and a datasplit of them."""
    from csc_data.geometry import Grid
    from csc_data.splits.split_file import SplitRow, write_datasplit
    from csc_data.volumes import downsampled_grid, write_multiscale

    rng = np.random.default_rng(0)
    rows = []
    for number in range(1, CROPS + 1):
        side = SIDE + 2 * MARGIN
        whole = Grid(voxel_size=(4, 4, 4), translation=(1000.0 * number, 0, 0), shape=(side, side, side))
        field = smooth_field(rng, side)
        raw = np.clip(field * 60 + 128 + rng.normal(0, 12, field.shape), 0, 255).astype(np.uint8)
        place = folder / "data" / f"set{number}" / f"set{number}.zarr" / "recon-1"
        image = place / "em" / "fibsem-uint8"
        labels = place / "labels" / "groundtruth" / f"crop{number}"
        coarse = raw.reshape(side // 2, 2, side // 2, 2, side // 2, 2).mean((1, 3, 5)).astype(np.uint8)
        write_multiscale(image, [raw, coarse], [whole, downsampled_grid(whole, (2, 2, 2))])
        box = whole.window((MARGIN,) * 3, (SIDE,) * 3)
        inner = field[(slice(MARGIN, -MARGIN),) * 3]
        edges = np.quantile(inner[::8, ::8, ::8], [0, 0.5, 0.7, 0.85, 0.95, 1])
        for name, low, high in zip(CLASSES, edges[:-1], edges[1:], strict=True):
            mask = ((inner >= low) & (inner < high)).astype(np.uint8)
            levels = [mask, np.ascontiguousarray(mask[::2, ::2, ::2])]
            write_multiscale(labels / name, levels, [box, downsampled_grid(box, (2, 2, 2))])
        rows.append(SplitRow(usage="train", raw=str(image), labels=str(labels), classes=CLASSES))
    write_datasplit(folder / "datasplit.csv", rows)


def smooth_field(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return waves in all directions, float32 of unit variance."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    field = np.zeros((side, side, side), dtype=np.float32)
    for _ in range(12):
        z, y, x = rng.normal(0, 30, 3)
        phases = [np.exp(1j * k * axis).astype(np.complex64) for k in (z, y, x)]
        plane = np.exp(1j * rng.uniform(0, 6.28)) * phases[1][:, None] * phases[2]
        for index, phase in enumerate(phases[0]):
            field[index] += (phase * plane).real
    return field / np.float32(np.sqrt(6))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def peak_gb() -> float:
    """Return the most memory that this process or one of its children held."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most * BYTES_PER_UNIT / 1e9


def info(work: Work) -> dict[str, Any]:
    """Return what both loaders call the shape and the voxel size."""
    return {"shape": work.shape, "scale": (8, 8, 8)}


def check(batch: dict[str, Any], work: Work, size: int) -> None:
    """Make sure that both loaders give the same kind of batch."""
    space = tuple(n for n in work.shape if n > 1)
    assert tuple(batch["input"].shape) == (size, 1, *space), batch["input"].shape
    assert tuple(batch["output"].shape) == (size, len(CLASSES), *space), batch["output"].shape


def theirs(folder: Path, work: Work) -> Iterator[Any]:
    """Yield batches of cellmap-data's loader, made as the official toolbox makes it."""
    from cellmap_data import CellMapDataLoader, CellMapDataSplit

    split = CellMapDataSplit(
        input_arrays={"input": info(work)},
        target_arrays={"output": info(work)},
        classes=list(CLASSES),
        pad=True,
        csv_path=str(folder / "datasplit.csv"),
        spatial_transforms=work.transforms,
    )
    loader = CellMapDataLoader(
        split.train_datasets_combined,
        classes=list(CLASSES),
        batch_size=work.batch_size,
        weighted_sampler=True,
        is_train=True,
        iterations_per_epoch=10**6,
    )
    yield from loader


def make_ours(datasplit: Path, work: Work, **options: Any) -> Any:
    """Return our loader of the same batches."""
    from csc_data.loader import get_dataloader

    options = {"batch_size": work.batch_size, "iterations_per_epoch": 10**6, **options}
    return get_dataloader(
        datasplit, CLASSES, input_array_info=info(work), spatial_transforms=work.transforms, **options
    ).train


@dataclass(frozen=True, kw_only=True)
class Result:
    """Seconds a patch, the peak memory of the process in GB; requests to S3, and how many at once."""

    cpu: float
    wall: float
    memory: float
    requests: int = 0
    at_once: int = 0


def clock(
    batches: Iterator[Any], work: Work, patches: int, size: int, each: Callable[[], None] | None = None
) -> Result:
    """Measure so many patches; `each` is called before each batch, and not counted."""
    cpu = wall = 0.0
    for _ in range(-(-patches // size)):
        if each is not None:
            each()
        before = cpu_seconds(), time.perf_counter()
        batch = next(batches)
        cpu, wall = cpu + cpu_seconds() - before[0], wall + time.perf_counter() - before[1]
        check(batch, work, size)
    count = -(-patches // size) * size
    return Result(cpu=cpu / count, wall=wall / count, memory=peak_gb())


def measure_theirs(folder: Path, work: Work) -> Result:
    """Measure cellmap-data's loader."""
    batches = theirs(folder, work)
    next(batches)  # metadata is read once
    return clock(batches, work, work.theirs, work.batch_size)


def measure_warm(folder: Path, work: Work, datasplit: str = "datasplit.csv", **options: Any) -> Result:
    """Measure ours with all crops decoded."""
    batches = iter(make_ours(folder / datasplit, work, **options))
    warm_up(batches, work, workers=options.get("num_workers", 0))
    return clock(batches, work, work.ours, work.batch_size)


def warm_up(batches: Iterator[Any], work: Work, *, workers: int = 0) -> None:
    """Draw until every process that loads has decoded every crop, but for a small chance."""
    for _ in range(-(-60 * max(1, workers) // work.batch_size)):
        next(batches)


def measure_cold(folder: Path, work: Work, datasplit: str = "datasplit.csv") -> Result:
    """Measure ours with nothing decoded before any patch."""
    loader = make_ours(folder / datasplit, work, batch_size=1)
    batches = iter(loader)
    warm_up(batches, replace(work, batch_size=1))  # counts of classes and compiled loops stay
    return clock(batches, work, max(8, work.ours // 8), 1, lambda: empty_caches(loader))


def empty_caches(loader: Any) -> None:
    """Make the loader of this process forget what it has decoded."""
    from csc_data.formats.cache import shared_cache

    loader.patches.reader.regions.clear()
    shared_cache().clear()


def measure_workers(folder: Path, work: Work, workers: str) -> Result:
    """Measure the wall time with worker processes."""
    work = replace(work, ours=work.ours * 2)
    return measure_warm(folder, work, num_workers=int(workers))


def measure_first(folder: Path, work: Work, datasplit: str = "datasplit.csv") -> Result:
    """Measure the first batch from the start of the process: interpreter, imports, opening and reading."""
    batch = next(iter(make_ours(folder / datasplit, work)))
    wall = time.time() - float(os.environ["BENCHMARK_STARTED"])
    check(batch, work, work.batch_size)
    return Result(cpu=cpu_seconds(), wall=wall, memory=peak_gb())


def measure_cold_requests(folder: Path, work: Work) -> Result:
    """Measure a patch from S3 with metadata and counts known, but nothing decoded."""
    import urllib.request

    loader = make_ours(folder / "s3.csv", work, batch_size=1)
    batches = iter(loader)
    next(batches)
    empty_caches(loader)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address = os.environ["FSSPEC_S3_ENDPOINT_URL"] + "/-/stats"

    def requests() -> dict[str, int]:
        with opener.open(address, timeout=60) as answer:
            found: dict[str, int] = json.load(answer)
            return found

    before = requests()
    start = time.perf_counter()
    next(batches)
    wall = time.perf_counter() - start
    after = requests()
    count = after["requests"] - before["requests"]
    return Result(cpu=0, wall=wall, memory=peak_gb(), requests=count, at_once=after["most_at_once"])


PARTS: dict[str, Callable[..., Result]] = {
    "theirs": measure_theirs,
    "warm": measure_warm,
    "cold": measure_cold,
    "workers": measure_workers,
    "first": measure_first,
    "requests": measure_cold_requests,
}


def run(folder: Path, part: str, work: str, *arguments: str, repeats: int = 2, **environment: str) -> Result:
    """Measure a part in processes of its own, and return the one that took the least."""
    results = []
    for _ in range(repeats):
        # The server of the tests must not be asked for through a proxy; threads would blur whose time it is.
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-W", "ignore", __file__, "--data", str(folder), "--part", part, work, *arguments]
        with (
            tempfile.TemporaryDirectory() as cache
        ):  # counts of classes are kept in the user's cache: not from run to run
            own = {"XDG_CACHE_HOME": cache, "BENCHMARK_STARTED": str(time.time())}
            variables = {**os.environ, **threads, **own, **environment}
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{part} {work} failed:\n{done.stderr}")
        results.append(Result(**json.loads(done.stdout.splitlines()[-1])))
    key = "wall" if part in ("workers", "first", "requests") else "cpu"
    return min(results, key=lambda result: getattr(result, key))


def verdict(value: float, bar: float, *, at_most: bool = False) -> str:
    """Return a bar, and whether it is met."""
    met = value <= bar if at_most else value >= bar
    return f"{'<=' if at_most else '>='} {bar:g} {'met' if met else 'MISSED'}"


def report_works(folder: Path, names: list[str]) -> None:
    """Print the table of CPU seconds."""
    print(f"{'CPU ms a patch, one thread':38}{'theirs':>9}{'warm':>9}{'times':>8}  {'bar':14}{'cold':>9}{'times':>8}  "
          f"{'bar':14}{'GB':>6}  bar")  # fmt: skip
    for name in names:
        work = WORKS[name]
        reference = run(folder, "theirs", name)
        warm = run(folder, "warm", name)
        row = f"{name:38}{reference.cpu * 1e3:9.1f}{warm.cpu * 1e3:9.2f}{reference.cpu / warm.cpu:8.1f}"
        row += f"  {verdict(reference.cpu / warm.cpu, work.warm_bar):14}"
        cold = run(folder, "cold", name)
        bar = "" if work.cold_bar is None else verdict(reference.cpu / cold.cpu, work.cold_bar)
        memory = max(warm.memory, cold.memory)
        row += f"{cold.cpu * 1e3:9.2f}{reference.cpu / cold.cpu:8.1f}  {bar:14}{memory:6.2f}"
        print(f"{row}  {verdict(memory, 1, at_most=True)}", flush=True)


def report_workers(folder: Path, names: list[str]) -> None:
    """Print what a second worker brings, and the CPU time that it cannot share: that of the process that trains."""
    print(f"\n{'wall ms a patch':38}{'1 worker':>9}{'2':>9}{'times':>8}  {'bar':16}own CPU ms")
    for name in names:
        one, two = (run(folder, "workers", name, str(count)) for count in (1, 2))
        row = f"{name:38}{one.wall * 1e3:9.2f}{two.wall * 1e3:9.2f}{one.wall / two.wall:8.2f}"
        print(f"{row}  {verdict(one.wall / two.wall, 1.7):16}{two.cpu * 1e3:.2f}", flush=True)


def report_first(folder: Path, names: list[str]) -> None:
    """Print how long the first batch takes, with compiled loops in numba's cache and without."""
    title = "s to the first batch, imports included"
    print(f"\n{title:38}{'wall':>9}  {'bar':14}{'CPU':>8}{'compiled anew':>14}{'CPU':>8}")
    for name in names:
        known = run(folder, "first", name)
        with tempfile.TemporaryDirectory() as cache:
            anew = run(folder, "first", name, repeats=1, NUMBA_CACHE_DIR=cache)
        row = f"{name:38}{known.wall:9.2f}  {verdict(known.wall, 5, at_most=True):14}{known.cpu:8.2f}"
        print(f"{row}{anew.wall:14.2f}{anew.cpu:8.2f}", flush=True)


def report_streaming(folder: Path, names: list[str]) -> None:
    """Print the rates from S3 with 30 ms latency and from files."""
    text = (folder / "datasplit.csv").read_text().replace(str(folder / "data"), "s3://data")
    (folder / "s3.csv").write_text(text)
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), "--latency", "0.03"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        endpoint = json.loads(server.stdout.readline())["endpoint"]
        s3 = {"FSSPEC_S3_ENDPOINT_URL": endpoint}
        print(f"\n{'S3 at 30 ms':38}{'files':>9}{'S3':>9}{'share':>8}  {'bar':14}{'first':>9}{'a cold patch':>14}"
              f"{'requests':>10}{'at once':>9}")  # fmt: skip
        for name in names:
            local = run(folder, "warm", name).wall
            remote = run(folder, "warm", name, "s3.csv", **s3).wall
            first = run(folder, "first", name, "s3.csv", repeats=1, **s3).wall
            cold = run(folder, "requests", name, repeats=1, **s3)
            row = f"{name:38}{local * 1e3:6.2f} ms{remote * 1e3:6.2f} ms{local / remote:8.2f}"
            row += f"  {verdict(local / remote, 0.8):14}{first:7.2f} s{cold.wall:12.2f} s"
            row += f"{cold.requests:10}{cold.at_once:9}"
            print(row, flush=True)
        server.stdin.close()


REPORTS = {"works": report_works, "workers": report_workers, "first": report_first, "s3": report_streaming}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only works with this text in their name, such as 64")
    parser.add_argument("--reports", default=",".join(REPORTS), help="which tables, of " + ", ".join(REPORTS))
    parser.add_argument("--data", type=Path, help="folder to keep the volumes in (500 MB), or to find them in")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part, name, *further = arguments.part
        print("\n" + json.dumps(asdict(PARTS[part](arguments.data, WORKS[name], *further))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.data or Path(temporary)).resolve()
        if not (folder / "datasplit.csv").exists():
            write_data(folder)
        names = [name for name in WORKS if arguments.only in name]
        for report in arguments.reports.split(","):
            REPORTS[report](folder, names)


if __name__ == "__main__":
    main()
