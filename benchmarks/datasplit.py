"""How long a datasplit of the whole challenge takes: 289 crops of 48 classes, on a disk and over S3 with latency.

python benchmarks/datasplit.py

The annotations are small (32^3), as their number and not their size is what takes the time. `recorded`: how many voxels
are present stands in the metadata, as in the challenge's own; `counted`: it does not, and each array is read. By the
list in csc-data nothing is read. Bars: 1 s by the list, 5 s on a local disk, 30 s over S3 with 30 ms latency. The
reference opens the same arrays one by one with zarr and counts. The S3 server is that of csc-data's tests, in a process
of its own on the same machine.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from csc_data.challenge import get_storage, get_tested_classes, get_training_crops
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(32, 32, 32))
SERVER = Path(__file__).parents[1] / "packages" / "csc-data" / "tests" / "s3_server.py"
SPLIT = """
import sys
from csc_data import SplitOptions, load_config, make_datasplit
from csc_data.splits.search import CropTemplates
config = load_config(data=sys.argv[1])
where = CropTemplates.in_bucket(config) if sys.argv[2:] else config
split = make_datasplit(where, SplitOptions(by_list=sys.argv[2:] == ["list"]))
print(len(split.rows), len(split.crops), sum(sum(sides.values()) for sides in split.voxels.values()))
"""
REFERENCE = """
import glob, sys
import numpy as np, zarr
crops, classes, voxels = set(), set(), 0
for path in glob.glob(sys.argv[1] + "/*/*.zarr/recon-1/labels/groundtruth/*/*"):
    voxels += int(np.count_nonzero(zarr.open_group(path, mode="r")["s0"][...]))
    crops.add(path.split("/")[-2]); classes.add(path.split("/")[-1])
print(len(crops), len(classes), voxels)
"""


def write_crops(root: Path, *, recorded: bool) -> None:
    """Write the annotations of all training crops, with as many voxels present in each."""
    labels = (np.random.default_rng(0).random(GRID.shape) > 0.7).astype("u1")
    template = root / "template.zarr" / "class"
    write_multiscale(template, [labels], [GRID])
    if recorded:
        file = template / "s0" / ".zattrs"
        annotation = {"complement_counts": {"absent": int(np.count_nonzero(labels == 0))}}
        file.write_text(json.dumps({**json.loads(file.read_text()), "cellmap": {"annotation": annotation}}))
    for dataset, crops in get_training_crops().items():
        place = root / dataset / f"{dataset}.zarr" / "recon-1"
        write_multiscale(place / "em" / "fibsem-uint8", [labels], [GRID])
        for crop in crops:
            for name in get_tested_classes():
                shutil.copytree(template, place / "labels" / "groundtruth" / f"crop{crop}" / name)
    shutil.rmtree(template.parent)


def measure(name: str, code: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run Python code in a process of its own, print its row, and return what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)",
            *arguments,
        ],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said, memory = done.stdout.splitlines()
    print(f"{name:44} {wall:8.2f} {cpu:8.2f} {int(memory) / 1e6:8.2f}   {said}", flush=True)
    return said


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'work':44} {'wall s':>8} {'CPU s':>8} {'GB':>8}   crops, classes, voxels")
        measure("make_datasplit, by the list (bar 1 s)", SPLIT, ".", "list")
        seen = set()
        for kind in ("recorded", "counted"):
            bucket = Path(folder) / kind / get_storage()["bucket"]
            write_crops(bucket, recorded=kind == "recorded")
            seen.add(measure(f"make_datasplit, disk, {kind} (bar 5 s)", SPLIT, str(bucket)))
        seen.add(measure("zarr one by one, disk (reference)", REFERENCE, str(bucket)))
        root = str(Path(folder) / "recorded")
        with subprocess.Popen(
            [sys.executable, str(SERVER), root, "--latency", "0.03"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            endpoint = json.loads(server.stdout.readline())["endpoint"]
            environment = {"FSSPEC_S3_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1"}
            seen.add(measure("make_datasplit, S3 at 30 ms (bar 30 s)", SPLIT, ".", "s3", environment=environment))
            server.stdin.close()
        if len(seen) != 1:
            raise SystemExit(f"the ways disagree: {seen}")


if __name__ == "__main__":
    main()
