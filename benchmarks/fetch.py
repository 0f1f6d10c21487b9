"""How fast data is fetched, what it costs, and whether anything is lost: against our own S3 server on loopback.

python benchmarks/fetch.py                    `csc fetch-data`, the whole command, beside bare clients that get the same
                                              keys and write them to disk: one of obstore, one of s3fs
python benchmarks/fetch.py --restart 100000   a restart with nothing to do, of so many files
python benchmarks/fetch.py --kills 20         failures injected, the process killed again and again, every file compared

Bars: at 30 ms latency the command takes at most 1.5 times the bare client of obstore, start and listing included, and
at most 1.5 ms of processor time a file; a restart with nothing to do takes less than 2 s at 10^5 files; no file is lost
over 200 failures and 20 kills. All are measured in turn. The server takes one of the cores, so on two cores that do
something else as well wall time says little, and processor time more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
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
sys.exit(not fetch_data(Config(data=sys.argv[1], endpoint=sys.argv[2]), options).complete)
"""

BARE = """
import asyncio, os, sys
import obstore
from obstore.store import S3Store

async def main(folder, endpoint, n):
    store = S3Store(
        "janelia-cosem-datasets", endpoint=endpoint, region="us-east-1", skip_signature=True,
        client_options={"allow_http": True},
    )
    keys = [entry["path"] async for page in obstore.list(store, "jrc_bench-1", chunk_size=1000) for entry in page]
    waiting = iter(keys)

    async def work():
        for key in waiting:
            body = await (await obstore.get_async(store, key)).bytes_async()
            path = os.path.join(folder, key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(body)

    await asyncio.gather(*(work() for _ in range(n)))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""

S3FS = """
import asyncio, os, sys
import s3fs

async def main(folder, endpoint, n):
    files = s3fs.S3FileSystem(
        anon=True, endpoint_url=endpoint, asynchronous=True, config_kwargs={"max_pool_connections": n}
    )
    session = await files.set_session()
    keys = await files._find(f"janelia-cosem-datasets/jrc_bench-1")
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
    await session.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def write_bucket(folder: Path, edge: int, chunk: int, n_classes: int) -> None:
    """Write a data set whose one crop needs all of its raw: noise in chunks, labels in chunks of 16 voxels."""
    random_values = np.random.default_rng(0)
    zarr = folder / DATASET / f"{DATASET}.zarr" / "recon-1"
    grids = [Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(edge,) * 3)]
    for _ in range(2):
        grids.append(downsampled_grid(grids[-1], (2, 2, 2)))
    raw = [random_values.integers(0, 256, grid.shape, dtype=np.uint8) for grid in grids]
    write_multiscale(zarr / "em" / "fibsem-uint8", raw, grids, chunks=(chunk,) * 3)
    label_grids = [Grid(voxel_size=(8 * edge / 128,) * 3, translation=(0, 0, 0), shape=(128,) * 3)]
    label_grids.append(downsampled_grid(label_grids[0], (2, 2, 2)))
    for name in CLASSES[:n_classes]:
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


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return wall and CPU seconds of its process."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        words = process.stdout.read()
        # The resources of this one process, not of all children: the server is one, too.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])[:80]} ends with {process.returncode}: {words}")
    return seconds, used.ru_utime + used.ru_stime


def csc(folder: Path, endpoint: str, workers: int) -> list[str]:
    """Return the whole command, as a user types it."""
    script = str(Path(sys.executable).with_name("csc"))
    return [script, "fetch-data", "-all-res", "-d", str(folder), "--endpoint", endpoint, "-w", str(workers)]


def compare_speed(root: Path, place: Path, workers: int, repeats: int) -> None:
    """Print a table of times and costs."""
    print(f"{'':24}{'latency':>8}{'files':>7}{'wall, s':>9}{'/ bare':>8}{'CPU, s':>8}{'CPU ms/file':>13}{'load':>6}")
    folder = place / "data"
    n_files = count_files(root)
    for latency in (0.03, 0.0):
        rows: dict[str, list[tuple[float, float]]] = {}
        with serving(root, latency=latency) as endpoint:
            arguments = [str(folder), endpoint, str(workers)]
            cases = {
                "bare client of obstore": [sys.executable, "-c", BARE, *arguments],
                "csc fetch-data": csc(folder, endpoint, workers),
                "bare client of s3fs": [sys.executable, "-c", S3FS, *arguments],
            }
            for number in range(repeats + 1):
                for name, command in cases.items():
                    shutil.rmtree(folder, ignore_errors=True)
                    write_data_folder(folder)
                    row = measure(command)
                    if number:  # the first round warms the server's digests and the disk
                        rows.setdefault(name, []).append(row)
        bare = statistics.median(row[0] for row in rows["bare client of obstore"])
        for name, measured in rows.items():
            seconds, cpu = (statistics.median(values) for values in zip(*measured, strict=True))
            print(
                f"{name:24}{latency * 1e3:5.0f} ms{n_files:7}{seconds:9.2f}{seconds / bare:8.2f}{cpu:8.2f}"
                f"{cpu / n_files * 1e3:13.2f}{os.getloadavg()[0]:6.1f}",
                flush=True,
            )


def restart(root: Path, place: Path, repeats: int) -> None:
    """Time runs that find everything in place: the first lists the bucket, the others take its listing."""
    folder = place / "data"
    write_data_folder(folder)
    shutil.copytree(root / BUCKET, folder, dirs_exist_ok=True)
    n_files = count_files(root)
    with serving(root, latency=0.03) as endpoint:
        for number in range(repeats + 1):
            seconds, cpu = measure(csc(folder, endpoint, 64))
            words = "with the listing that is kept" if number else "with a new listing"
            print(
                f"{n_files} files, {words}: {seconds:.2f} s, {cpu:.2f} s CPU, load {os.getloadavg()[0]:.1f}", flush=True
            )


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
    parser.add_argument("--edge", type=int, default=256, help="voxels of the raw's edge")
    parser.add_argument("--classes", type=int, default=3, help="label arrays; with an edge of 256, 3 make 2,344 files")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--restart", type=int, default=0, metavar="FILES")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        # Settings and refreshed lists of the user must not take part.
        os.environ |= {"XDG_CONFIG_HOME": name, "XDG_CACHE_HOME": name, "NO_PROXY": "127.0.0.1"}
        # In chunks of 4 voxels, the levels of a cube have 8 / 7 * (edge / 4)^3.
        many = round((arguments.restart * 7 / 8) ** (1 / 3)) * 4
        write_bucket(place / "s3" / BUCKET, many or arguments.edge, 4 if many else 32, 1 if many else arguments.classes)
        if arguments.kills:
            lose_nothing(place / "s3", place, arguments.kills, arguments.seed)
        elif arguments.restart:
            restart(place / "s3", place, arguments.repeats)
        else:
            compare_speed(place / "s3", place, arguments.workers, arguments.repeats)


if __name__ == "__main__":
    main()
