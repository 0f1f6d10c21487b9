"""How fast volumes are read, and in how much memory, beside zarr's own read in the same run.

    python benchmarks/volumes.py [--repeats 30]

Every case runs in a process of its own; peak memory is that of the process, imports included. The voxels are smooth
noise, as EM is, in chunks of 64^3 bytes; those of the volume of 2000^3 in chunks of 128^3. Rows are medians.

Bars: 128^3 at the stored voxel size in 1.2 times the CPU of zarr's own read; from the warm cache in 3 times the time of
a copy in memory; a volume of 2000^3 in memory bounded by the cache; 27 chunks of a server that answers after 30 ms in
about one round trip; `import csc_data.volumes` in 0.4 s.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EDGE, PATCH = 320, 128
# Linux counts in units of 1024 bytes, macOS in bytes.
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024


def prepare(folder: Path) -> None:
    """Write the volume that is read, and one of 2000^3 whose chunks are all the same file."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from csc_data.geometry import Grid
    from csc_data.volumes import create_multiscale, write_multiscale

    noise = np.random.default_rng(0).normal(size=(EDGE,) * 3).astype("f4")
    smooth = gaussian_filter(noise, 1)
    data = np.clip(128 + 40 * smooth / smooth.std() + 4 * noise, 0, 255).astype("u1")
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=data.shape)
    write_multiscale(folder / "root" / "b" / "x.zarr", [data], [grid], chunks=(64, 64, 64))
    np.save(folder / "data.npy", data)
    huge = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2000, 2000, 2000))
    array = create_multiscale(folder / "huge.zarr", huge, dtype="u1", chunks=(128, 128, 128))
    array[:128, :128, :128] = data[:128, :128, :128]
    first = folder / "huge.zarr" / "s0" / "0" / "0" / "0"
    for index in itertools.product(range(16), repeat=3):
        place = folder.joinpath("huge.zarr", "s0", *map(str, index))
        if place != first:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(first)


def timed(call: Callable[[], Any], repeats: int, before: Callable[[], Any] = lambda: None) -> dict[str, float]:
    """Return the median wall and CPU seconds of a call."""
    walls, cpus = [], []
    for _ in range(repeats):
        before()
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall": sorted(walls)[repeats // 2], "cpu": sorted(cpus)[repeats // 2]}


def measure(folder: Path, case: str, offset: int, repeats: int, endpoint: str) -> dict[str, float]:
    """Run one case in this process."""
    import numpy as np
    import zarr

    from csc_data.formats.cache import shared_cache
    from csc_data.volumes import open_volume

    place = folder / "root" / "b" / "x.zarr"
    box = (slice(offset, offset + PATCH),) * 3
    if case == "prepare":
        prepare(folder)
        return {}
    if case == "zarr":
        array = zarr.open(str(place / "s0"), mode="r")
        return timed(lambda: array[box], repeats)
    if case == "copy":
        data = np.load(folder / "data.npy")
        return timed(lambda: data[box].copy(), repeats)
    if case.startswith("remote"):
        return measure_remote(case, box, repeats, endpoint)
    if case.startswith("huge"):
        return measure_huge(folder / "huge.zarr", case)
    volume = open_volume(place)
    window = volume.levels[0].grid.window((offset,) * 3, (PATCH,) * 3)
    volume.read(window, 1)
    return timed(lambda: volume.read(window, 1), repeats, shared_cache().clear if case == "cold" else lambda: None)


def measure_remote(case: str, box: tuple[slice, ...], repeats: int, endpoint: str) -> dict[str, float]:
    """Read over a network, with nothing in the cache."""
    import zarr

    from csc_data.formats.cache import shared_cache
    from csc_data.volumes import open_volume

    if case == "remote zarr":
        options = {"anon": True, "endpoint_url": endpoint}
        array = zarr.open("s3://b/x.zarr/s0", mode="r", storage_options=options)
        array[box]
        return timed(lambda: array[box], repeats)
    if case == "remote open":
        open_volume("s3://b/x.zarr", endpoint=endpoint)
        return timed(lambda: open_volume("s3://b/x.zarr", endpoint=endpoint), repeats)
    level = open_volume("s3://b/x.zarr", endpoint=endpoint).levels[0]
    level.array[box]
    return timed(lambda: level.array[box], repeats, shared_cache().clear)


def measure_huge(path: Path, case: str) -> dict[str, float]:
    """Read all of a volume of 2000^3 in blocks with halo, or one slab that is larger than the cache."""
    from csc_data.formats.cache import set_cache_bytes, shared_cache
    from csc_data.volumes import open_volume

    set_cache_bytes(64 << 20)
    volume = open_volume(path)
    grid = volume.levels[0].grid
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    if case == "huge blocks":
        for begin in itertools.product(range(0, 1872, 208), repeat=3):
            volume.read(grid.window([b - 8 for b in begin], (224, 224, 224)), 1)
            assert shared_cache().held_bytes <= 64 << 20
    else:
        volume.read(grid.window((100, 0, 0), (100, 2000, 2000)), 1)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "grown": peak() - before}


def peak() -> float:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT


def run(folder: Path, case: str, repeats: int, offset: int = 0, endpoint: str = "") -> dict[str, float]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--case", case, "--repeats", str(repeats)]
    command += ["--offset", str(offset), "--endpoint", endpoint]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def row(name: str, found: dict[str, float], words: str = "") -> None:
    """Print one line of the table."""
    print(
        f"{name:44}{found['wall'] * 1e3:10.2f}{found['cpu'] * 1e3:10.2f}{found['peak'] / 1e6:9.0f}  {words}", flush=True
    )


def ratio(value: float, reference: float, bar: float, what: str) -> str:
    """Return the words for a ratio beside its bar."""
    share = value / reference
    return f"{share:.2f} of {what} (bar {bar}){'' if share <= bar else '  OVER THE BAR'}"


def local_rows(folder: Path, repeats: int) -> None:
    """Print what is read from disk, at a corner of chunks and across them."""
    for offset, chunks in ((64, 8), (37, 27)):
        zarr, copy = run(folder, "zarr", repeats, offset), run(folder, "copy", repeats, offset)
        cold, warm = run(folder, "cold", repeats, offset), run(folder, "warm", repeats, offset)
        row(f"128^3, {chunks} chunks: zarr's own read", zarr, "reference")
        row("    Volume.read, nothing cached", cold, ratio(cold["cpu"], zarr["cpu"], 1.2, "zarr's CPU"))
        row("    copy of an array in memory", copy, "reference")
        row("    Volume.read, all cached", warm, ratio(warm["wall"], copy["wall"], 3, "the copy's time"))


def remote_rows(folder: Path, repeats: int) -> None:
    """Print what is read from a server that answers after 30 ms."""
    server = Path(__file__).parents[1] / "packages" / "csc-data" / "tests" / "s3_server.py"
    command = [sys.executable, str(server), str(folder / "root"), "--latency", "0.03"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        for name, case in (
            ("27 chunks over 30 ms: zarr's own read", "remote zarr"),
            ("    a level of Volume, nothing cached", "remote"),
            ("    open_volume", "remote open"),
        ):
            found = run(folder, case, repeats, 37, endpoint)
            row(name, found, f"{found['wall'] / 0.03:.1f} round trips")
        assert process.stdin is not None
        process.stdin.close()


def start(module: str) -> dict[str, float]:
    """Return the best times of five processes that import a module and end."""
    walls, cpus = [], []
    for _ in range(5):
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - wall)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall": min(walls), "cpu": min(cpus), "peak": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=31)
    for hidden in ("--folder", "--case", "--endpoint"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    parser.add_argument("--offset", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        place = Path(arguments.folder)
        found = measure(place, arguments.case, arguments.offset, arguments.repeats, arguments.endpoint)
        print(json.dumps({**found, "peak": peak()}))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        run(folder, "prepare", 1)  # not in this process: a child's peak memory counts from its parent's size
        print(f"{'':44}{'wall ms':>10}{'CPU ms':>10}{'peak MB':>9}")
        local_rows(folder, arguments.repeats)
        remote_rows(folder, max(3, arguments.repeats // 4))
        for name, case in (("729 blocks of 224^3", "huge blocks"), ("100 x 2000 x 2000 at once", "huge slab")):
            found = run(folder, case, 1)
            row(f"2000^3, cache of 67 MB: {name}", found, f"grew by {found['grown'] / 1e6:.0f} MB")
        for module in ("numpy", "csc_data.volumes"):
            row(f"python -c 'import {module}', best of 5", start(module), "bar 400 ms")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
