"""What packing costs, and whether what is packed is what scikit-image's rescale of the whole gives.

    python benchmarks/pack.py                      the bars below, each case in a process of its own
    python benchmarks/pack.py --all [--workers 2] [--crops 987,988]   all 413 pairs from synthetic predictions

Bars: 400^3 to 200^3 in 0.4 CPU seconds for a semantic class and 0.25 for instances, digest and writing included;
masks and probabilities of 600^3 equal to the whole rescale, voxel for voxel, with 300 MB more than after the imports;
all pairs in 30 CPU minutes and 1 GB, two workers 1.7 times as fast as one.

Blobs and ids are of one box of 256^3, 20 times smaller in files than in memory at most; with --all the chunk files of
a crop are links to those of the box.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
BOX = 256
CASES = ("semantic", "instances", "equal masks", "equal probabilities")
MEBI = 2**20


def blobs(shape: tuple[int, int, int], sigma: float = 3.0) -> Any:
    """Return smooth values from 0 to 1, repeated from a box."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    values = gaussian_filter(np.random.default_rng(0).random((BOX,) * 3).astype("f4"), sigma, mode="wrap")
    values = (values - values.min()) / (values.max() - values.min())
    return np.tile(values, [-(-n // BOX) for n in shape])[tuple(map(slice, shape))]


def objects(shape: tuple[int, int, int]) -> Any:
    """Return ids of blobs, repeated from a box."""
    import numpy as np
    from scipy.ndimage import label

    box = blobs((BOX,) * 3, 1.9)
    ids = label(box > np.quantile(box, 0.7))[0].astype("u2")
    return np.tile(ids, [-(-n // BOX) for n in shape])[tuple(map(slice, shape))]


def prepare(root: Path, case: str) -> None:
    """Write a data folder with one test crop and a volume of half its voxel size."""
    import numpy as np

    from csc_data.challenge import TestCrop
    from csc_data.challenge.test_crops import write_test_crops
    from csc_data.config.user_config import Config
    from csc_data.geometry import Grid
    from csc_data.volumes import write_multiscale
    from csc_data.volumes.stored_values import StoredValues

    edge = 600 if case.startswith("equal") else 400
    name = "mito" if case == "instances" else "er"
    shape = (edge,) * 3
    values = objects(shape) if case == "instances" else blobs(shape)
    kind = StoredValues(kind="label")
    if case == "equal probabilities":
        values, kind = (values * 255).astype("u1"), StoredValues(kind="probability", one=255)
    elif case != "instances":
        values = (values > np.median(values)).astype("u1")
    config = Config(data=str(root))
    grid = Grid(voxel_size=(4, 4, 4), translation=(102, 202, 302), shape=shape)
    folder = config.path("processed", dataset="x", crop="crop7", class_name=name)
    write_multiscale(folder, [values], [grid], chunks=(64, 64, 64), attributes=kind.to_attributes())
    half = {"voxel_size": (8.0, 8.0, 8.0), "translation": (104.0, 204.0, 304.0), "shape": (edge // 2,) * 3}
    write_test_crops(root / "test_crop_manifest.csv", [TestCrop(id=7, dataset="x", classes=(name,), **half)])


def run_case(root: Path, case: str) -> dict[str, Any]:
    """Pack, and tell what it took."""
    from csc_data.config.user_config import Config
    from csc_submit import pack_results

    config = Config(data=str(root))
    # What is loaded once is not part of packing an array.
    pack_results(config=config, destination=root / "first.zarr", as_probabilities="threshold", zip=False)
    if case.startswith("equal"):
        return {}
    before = time.process_time()
    pack_results(config=config, as_probabilities="threshold", zip=False)
    return {"cpu_s": round(time.process_time() - before, 3)}


def run_memory(root: Path) -> dict[str, Any]:
    """Pack once, and tell by how much the peak of memory rose over that after the imports."""
    from csc_data.config.user_config import Config
    from csc_submit import pack_results

    for module in ("csc_submit.packing.pack", "csc_data.volumes", "zarr"):
        importlib.import_module(module)
    before = peak()
    pack_results(config=Config(data=str(root)), as_probabilities="threshold", zip=False)
    return {"rise_mb": round((peak() - before) / MEBI)}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT


def compare(root: Path, case: str) -> dict[str, Any]:
    """Count the voxels that differ from scikit-image's rescale of the whole."""
    import numpy as np
    from skimage.transform import rescale

    from csc_data.config.user_config import Config
    from csc_data.formats.reading import open_array

    config = Config(data=str(root))
    stored = open_array(config.path("processed", dataset="x", crop="crop7", class_name="er") / "s0")[...]
    packed = open_array(config.path("submission") / "crop7" / "er")[...]
    whole = stored.astype("f4") / np.float32(255) if case == "equal probabilities" else (stored > 0).astype("f4")
    whole = rescale(whole, 0.5, order=1, mode="constant", preserve_range=True)
    # The definition counts halves as foreground, up to rounding; thresholds of probabilities are exceeded.
    expected = whole > 0.5 if case == "equal probabilities" else whole >= 0.5 - 1e-6
    return {"voxels": packed.size, "different": int(np.count_nonzero(packed != expected))}


def link_predictions(root: Path, wanted: list[str] | None) -> None:
    """Write a processed volume for each pair on its crop's own grid; chunk files are links to those of a box."""
    import numpy as np

    from csc_data.challenge import get_instance_classes, get_test_crops
    from csc_data.challenge.test_crops import select_crops
    from csc_data.config.user_config import Config
    from csc_data.formats.writing import create_array
    from csc_data.volumes import create_multiscale
    from csc_data.volumes.stored_values import StoredValues

    config = Config(data=str(root))
    box = {"ids": objects((BOX,) * 3), "mask": (blobs((BOX,) * 3) > 0.5).astype("u1")}
    for name, values in box.items():
        array = create_array(root / name, shape=values.shape, dtype=values.dtype, chunks=(64, 64, 64))
        array[...] = values
        stored = sum(file.stat().st_size for file in (root / name).rglob("*"))
        print(f"{name}: {values.nbytes / stored:.1f} times smaller in files, {np.unique(values).size} values")
    for crop in select_crops(get_test_crops(), wanted):
        for name in crop.classes:
            kind = "ids" if name in get_instance_classes() else "mask"
            folder = config.path("processed", dataset=crop.dataset, crop=f"crop{crop.id}", class_name=name)
            label = StoredValues(kind="label").to_attributes()
            create_multiscale(folder, crop.grid, dtype=box[kind].dtype, chunks=(64, 64, 64), attributes=label)
            for index in itertools.product(*(range(-(-n // 64)) for n in crop.shape)):
                place = folder.joinpath("s0", *map(str, index))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to((root / kind).joinpath(*(str(i % (BOX // 64)) for i in index)).absolute())


def run_all(workers: int, wanted: list[str] | None) -> None:
    """Pack all pairs once, and print what that took."""
    from csc_data.config.user_config import Config
    from csc_submit import pack_results

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        link_predictions(root, wanted)
        begin, before = time.perf_counter(), cpu_seconds()
        result = pack_results(config=Config(data=str(root)), crops=wanted, max_workers=workers)
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - before
        voxels = sum(row.voxels for row in result.rows)
        archive = result.archive
        assert archive is not None
        most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(
            f"{len(result.packed)} of {len(result.rows)} pairs packed, {len(result.failed)} failed, {voxels:,} set; "
            f"{workers} workers: {seconds:.0f} s, {cpu:.0f} CPU s, {most * BYTES_PER_UNIT / MEBI:.0f} MB a process; "
            f"{archive.stat().st_size / MEBI:.0f} MB"
        )


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def in_process(what: str, root: Path, case: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--step", what, "--root", str(root), "--case", case]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_prepare(root: Path, case: str) -> dict[str, Any]:
    prepare(root, case)
    return {}


STEPS = {"prepare": run_prepare, "run": run_case, "compare": compare, "memory": lambda root, _: run_memory(root)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="pack all pairs of the challenge")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--crops", help="with --all: which test crops")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(STEPS[given.step](given.root, given.case)))
        return
    if given.all:
        run_all(given.workers, given.crops.split(",") if given.crops else None)
        return
    for case in CASES:
        root = Path(tempfile.mkdtemp())
        in_process("prepare", root, case)  # Linux hands the peak of a process to those that it starts
        steps = ("memory", "compare") if case.startswith("equal") else ("run",)
        found = {key: value for step in steps for key, value in in_process(step, root, case).items()}
        print(case, found)
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
