"""How fast data is fetched, what it costs, and whether anything is lost: against our own S3 server on loopback.

python benchmarks/fetch.py             files a second, processor time and memory a file; beside it a bare loop of s3fs
python benchmarks/fetch.py --kills 20  failures injected, the process killed again and again; every file is compared

Bars: at 30 ms latency at least 460 files/s and at most 1.5 ms of processor time a file (of the process that fetches,
its start and listing included); no file lost over 200 failures and 20 kills. The server takes one of the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from csc_data.geometry import Grid
from csc_data.volumes import downsampled_grid, write_multiscale

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "packages" / "csc-data" / "tests" / "s3_server.py"
BUCKET = "janelia-cosem-datasets"
DATASET = "jrc_bench-1"
CLASSES = ("mito", "er", "nuc", "ld", "pm", "ves", "endo", "lyso")

OURS = """
import sys
from csc_data.fetching import FetchOptions, fetch_data
from csc_data.config.user_config import Config
options = FetchOptions(workers=int(sys.argv[3]), all_resolutions=True)
result = fetch_data(Config(data=sys.argv[1], endpoint=sys.argv[2]), options)
print(result.fetched_files, result.seconds)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(not result.complete)
"""

S3FS = """
import asyncio, os, sys, time
import s3fs

async def main(folder, endpoint, n):
    files = s3fs.S3FileSystem(
        anon=True, endpoint_url=endpoint, asynchronous=True, config_kwargs={"max_pool_connections": n}
    )
    session = await files.set_session()
    keys = await files._find(f"janelia-cosem-datasets/jrc_bench-1")
    began = time.perf_counter()
    waiting = iter(keys)

    async def work():
        for key in waiting:
            body = await files._cat_file(key)
            path = os.path.join(folder, key.partition("/")[2])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".part", "wb") as file:
                file.write(body)
            os.replace(path + ".part", path)

    await asyncio.gather(*(work() for _ in range(n)))
    print(len(keys), time.perf_counter() - began)
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    await session.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def write_bucket(folder: Path, edge: int) -> None:
    """Write a data set whose one crop needs all of its raw: noise in chunks of 32 voxels, labels in chunks of 16."""
    random_values = np.random.default_rng(0)
    zarr = folder / DATASET / f"{DATASET}.zarr" / "recon-1"
    grids = [Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(edge,) * 3)]
    for _ in range(2):
        grids.append(downsampled_grid(grids[-1], (2, 2, 2)))
    raw = [random_values.integers(0, 256, grid.shape, dtype=np.uint8) for grid in grids]
    write_multiscale(zarr / "em" / "fibsem-uint8", raw, grids, chunks=(32, 32, 32))
    label_grids = [Grid(voxel_size=(8 * edge / 128,) * 3, translation=(0, 0, 0), shape=(128,) * 3)]
    label_grids.append(downsampled_grid(label_grids[0], (2, 2, 2)))
    for name in CLASSES:
        labels = [random_values.integers(0, 2, grid.shape, dtype=np.uint8) for grid in label_grids]
        write_multiscale(zarr / "labels" / "groundtruth" / "crop1" / name, labels, label_grids, chunks=(16, 16, 16))


def write_data_folder(folder: Path) -> None:
    """Write the lists that name the crop."""
    folder.mkdir(parents=True)
    place = f"s3://{BUCKET}/{DATASET}/{DATASET}.zarr/recon-1"
    row = f"1,{DATASET},recon-1,{place}/labels/groundtruth/crop1,{place}/em/fibsem-uint8"
    (folder / "manifest.csv").write_text(f"crop_name,dataset,alignment,crop_url,em_url\n{row}\n", encoding="utf-8")
    # A list of test crops in a data set of the same name; the crop lies in the raw that crop1 needs anyway.
    test = f"900,{DATASET},mito,[8;8;8],[0;0;0],[8;8;8]"
    header = "crop_name,dataset,class_label,voxel_size,translation,shape"
    (folder / "test_crop_manifest.csv").write_text(f"{header}\n{test}\n", encoding="utf-8")


@contextmanager
def serving(root: Path, **options: float) -> Iterator[str]:
    """Run a server; yield its address."""
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, str(SERVER), str(root), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoint"]
        process.stdin.close()
        process.wait()


def stats(endpoint: str) -> dict[str, int]:
    """Return what the server counted."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{endpoint}/-/stats") as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def measure(script: str, folder: Path, endpoint: str, workers: int) -> tuple[int, float, float, float, float]:
    """Run a script; return files, seconds of transfer and in all, CPU seconds and peak memory in MB of its process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), endpoint, str(workers)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    words = process.stdout.read().split()
    process.stdout.close()
    # The resources of this one process, not of all children: the server is one, too.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"failed: {words}")
    return int(words[0]), float(words[1]), seconds, used.ru_utime + used.ru_stime, int(words[2]) / 1e3


def compare_speed(root: Path, place: Path, workers: list[int], repeats: int) -> None:
    """Print a table of rates and costs."""
    print(
        f"{'':28}{'latency':>8}{'workers':>8}{'files':>7}{'files/s':>9}{'all, s':>8}{'CPU ms/file':>13}{'peak MB':>9}"
    )
    for latency in (0.03, 0.0):
        with serving(root, latency=latency) as endpoint:
            cases = [("fetch_data", OURS, n) for n in workers] + [("s3fs in a bare loop", S3FS, max(workers))]
            for name, script, n in cases:
                best = min((run_once(script, place, endpoint, n) for _ in range(repeats)), key=lambda row: row[1])
                files, transfer, seconds, cpu, memory = best
                print(
                    f"{name:28}{latency * 1e3:5.0f} ms{n:8}{files:7}{files / transfer:9.0f}{seconds:8.1f}"
                    f"{cpu / files * 1e3:13.2f}{memory:9.0f}",
                    flush=True,
                )


def run_once(script: str, place: Path, endpoint: str, workers: int) -> tuple[int, float, float, float, float]:
    """Measure once, into a new folder."""
    folder = place / "data"
    shutil.rmtree(folder, ignore_errors=True)
    write_data_folder(folder)
    return measure(script, folder, endpoint, workers)


def lose_nothing(root: Path, place: Path, kills: int, seed: int) -> None:
    """Kill a process that fetches through failures again and again; end with an error if a byte differs."""
    folder = place / "data"
    write_data_folder(folder)
    draw = random.Random(seed)
    wanted = {path.relative_to(root / BUCKET) for path in (root / BUCKET).rglob("*") if path.is_file()}
    failures = done = 0
    for number in range(kills):
        options = {"errors": 0.02, "cuts": 0.01, "flips": 0.01, "slow": 0.001, "seed": seed + number, "latency": 0.01}
        with serving(root, **options) as endpoint:
            command = [sys.executable, "-c", OURS, str(folder), endpoint, "16"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                before = count_files(folder)
                target = before + draw.randrange(1, max(2, len(wanted) // kills))
                while process.poll() is None and count_files(folder) < target:
                    time.sleep(0.02)
                done += process.poll() is None
                process.kill()
            counts = stats(endpoint)
        failures += sum(counts.get(name, 0) for name in ("errors", "cuts", "flips", "slow"))
        check(root / BUCKET, folder, wanted, whole=False)
    with serving(root, errors=0.02, cuts=0.02, flips=0.02, seed=seed) as endpoint:
        subprocess.run([sys.executable, "-c", OURS, str(folder), endpoint, "16"], check=True, stdout=subprocess.DEVNULL)
        counts = stats(endpoint)
    failures += sum(counts.get(name, 0) for name in ("errors", "cuts", "flips"))
    check(root / BUCKET, folder, wanted, whole=True)
    print(f"{done} kills, {failures} failures: {len(wanted)} files compared, none lost, none half, nothing left behind")


def count_files(folder: Path) -> int:
    """Count what is in its place."""
    return sum(len(names) for above, _, names in os.walk(folder) if ".csc-fetch" not in above)


def check(bucket: Path, folder: Path, wanted: set[Path], *, whole: bool) -> None:
    """Compare every file that is there, and that all are."""
    for path in wanted:
        mine = folder / path
        if not mine.exists():
            if whole:
                raise SystemExit(f"lost: {path}")
        elif mine.read_bytes() != (bucket / path).read_bytes():
            raise SystemExit(f"differs: {path}")
    if whole and list(folder.rglob(".csc-fetch")):
        raise SystemExit("unfinished files were left behind")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=512, help="voxels of the raw's edge; 512 makes 9,300 files")
    parser.add_argument("--workers", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        # Settings and refreshed lists of the user must not take part.
        os.environ |= {"XDG_CONFIG_HOME": name, "XDG_CACHE_HOME": name, "NO_PROXY": "127.0.0.1"}
        write_bucket(place / "s3" / BUCKET, arguments.edge)
        if arguments.kills:
            lose_nothing(place / "s3", place, arguments.kills, arguments.seed)
        else:
            compare_speed(place / "s3", place, arguments.workers, arguments.repeats)


if __name__ == "__main__":
    main()
