"""The whole challenge scored once at its real shapes: 413 pairs of test crop and class, 87.7 gigavoxels.

    python benchmarks/whole_challenge.py --out FOLDER [--crops 987,989] [--workers 1 2] [--alone 413] [--remove]

Labels are synthetic, with objects of real sizes (`challenge_labels.py`), a few gigabytes of files. `csc-eval` scores
them, then each label is scored alone in a process of its own, and a share of them as arrays that zarr read. What is
there is not made again: a run that was ended goes on.

Bars: 15 CPU minutes, 1 GB a worker, each label as it is alone to 1e-9; two workers 1.8 times as fast as one. On a busy
machine the clock says nothing: then CPU seconds of one worker over those of the command and its busiest worker.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from challenge_labels import list_pairs, write_label

from csc_data.challenge import get_test_crops
from csc_data.challenge.test_crops import select_crops

BAR_MINUTES, BAR_GIGABYTES, BAR_DIFFERENCE = 15.0, 1.0, 1e-9
MOST_VOXELS_AS_ARRAY = 250_000_000
COUNTS = ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff")
COMMAND = "from csc_eval.command.group import main; main()"


def make(out: Path, crops: list[str] | None) -> list[tuple[str, str]]:
    """Write the labels that are not there yet."""
    pairs = list(list_pairs(list(select_crops(get_test_crops(), crops))))
    began = time.monotonic()
    for crop, name in pairs:
        done = out / "made" / f"crop{crop.id}-{name}"
        if not done.exists():
            write_label(out, crop, name)
            done.parent.mkdir(exist_ok=True)
            done.touch()
    print(f"{len(pairs)} labels are there after {time.monotonic() - began:.0f} s", flush=True)
    return [(f"crop{crop.id}", name) for crop, name in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run of csc-eval took.

    Attributes
    ----------
    cpu_s, wall_s : float
        Of all its processes together.
    processes : sequence of (int, float)
        Largest resident memory (bytes) and CPU seconds of each; that of the command is the first.
    """

    cpu_s: float
    wall_s: float
    processes: Sequence[tuple[int, float]]

    @property
    def critical_s(self) -> float:
        """CPU seconds of the command and of its busiest worker, which is what must pass at least."""
        command, *workers = (cpu for _, cpu in self.processes)
        return command + max(workers, default=0.0)


def score(out: Path, workers: int) -> Usage:
    """Score all with the command, unless it was done."""
    kept = out / f"usage{workers}.json"
    if not kept.exists():
        found: dict[int, tuple[int, float]] = {}
        began, before = time.monotonic(), os.times()
        arguments = ["-s", "submission.zarr", "-t", "ground_truth.zarr", "-r", "result.json", "--workers", str(workers)]
        with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], cwd=out) as process:
            while process.poll() is None:
                look(process.pid, found)
                time.sleep(0.05)
        after = os.times()
        if process.returncode:
            raise SystemExit(f"csc-eval ended with {process.returncode}")
        cpu = sum(after[2:4]) - sum(before[2:4])
        usage = Usage(cpu_s=cpu, wall_s=time.monotonic() - began, processes=list(found.values()))
        kept.write_text(json.dumps(asdict(usage)))
    usage = Usage(**json.loads(kept.read_text()))
    each = ", ".join(f"{cpu:.0f} s and {size / 1e9:.2f} GB" for size, cpu in usage.processes)
    print(
        f"workers {workers}: {usage.cpu_s:.0f} CPU s (bar {BAR_MINUTES * 60:.0f}), {usage.wall_s:.0f} s by the clock; "
        f"each process: {each} (bar {BAR_GIGABYTES:g} GB)",
        flush=True,
    )
    return usage


def look(pid: int, found: dict[int, tuple[int, float]]) -> None:
    """Note memory and CPU seconds of a process and of those that it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        peak = peak_bytes(pid)
        if peak:  # those that have ended have none
            found[pid] = peak, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        # Workers are started by threads, and are the children of these.
        children = [listed.read_text().split() for listed in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return
    for child in itertools.chain.from_iterable(children):
        look(int(child), found)


def peak_bytes(pid: int) -> int:
    """Return the largest resident memory that a process has had (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def score_alone(out: str, crop: str, name: str, as_arrays: bool) -> dict[str, Any]:
    """Score one label by itself: from its files, or from arrays that zarr read."""
    began = time.process_time()
    if as_arrays:
        score = _score_arrays(Path(out), crop, name)
    else:
        from csc_data.storage.stores.submissions import open_store
        from csc_eval.rules import LEADERBOARD
        from csc_eval.running.submission import find_contents
        from csc_eval.scoring.labels import score_label

        stores = (open_store(Path(out, store)) for store in ("submission.zarr", "ground_truth.zarr"))
        tasks = find_contents(*stores, rules=(LEADERBOARD,)).tasks
        began = time.process_time()
        score = score_label(next(task for task in tasks if (task.crop, task.class_name) == (crop, name)))[0]
    taken = {"cpu_s": round(time.process_time() - began, 3), "peak_mb": peak_bytes(os.getpid()) // 2**20}
    return {"label": f"{crop}/{name}", "as_arrays": as_arrays, **taken, **{key: getattr(score, key) for key in COUNTS}}


def _score_arrays(out: Path, crop: str, name: str) -> Any:
    import zarr

    import csc_eval
    from csc_data.challenge import get_instance_classes

    stored = [zarr.open(str(out / store / crop / name), mode="r") for store in ("ground_truth.zarr", "submission.zarr")]
    voxel_size = tuple(stored[0].attrs["voxel_size"])
    truth, prediction = (array[:] for array in stored)
    if name in get_instance_classes():
        return csc_eval.score_instances(truth, prediction, voxel_size=voxel_size)
    return csc_eval.score_semantic(truth > 0, prediction > 0)


def check(out: Path, labels: Iterable[tuple[str, str, bool]]) -> float:
    """Score labels alone, each in a new process; print the largest, and return the largest difference."""
    kept = out / "alone.jsonl"
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(one["label"], one["as_arrays"]) for one in known}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["csc_eval.running.submission", "zarr"])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool, kept.open("a") as file:
        for crop, name, as_arrays in labels:
            if (f"{crop}/{name}", as_arrays) not in done:
                known.append(pool.submit(score_alone, str(out), crop, name, as_arrays).result())
                file.write(json.dumps(known[-1]) + "\n")
                file.flush()
    whole = json.loads((out / "result_extended.json").read_text())
    worst = 0.0
    for one in known:
        crop, name = one["label"].split("/")
        worst = max(worst, *(abs(one[key] - whole[crop][name].get(key, one[key])) for key in COUNTS))
    files = [one for one in known if not one["as_arrays"]]
    print(f"alone: {len(files)} labels from files, {len(known) - len(files)} as arrays; largest difference {worst:g}")
    for key, unit in (("cpu_s", "CPU s"), ("peak_mb", "MB")):
        largest = sorted(files, key=lambda one: -one[key])[:8]
        print(f"largest by {unit}: " + ", ".join(f"{one['label']} {one[key]:g}" for one in largest))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where labels and results are kept")
    parser.add_argument("--crops", help="which test crops [all]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="one run of csc-eval for each")
    parser.add_argument("--alone", type=int, help="how many labels to score alone [all]")
    parser.add_argument("--arrays", type=int, default=40, help="how many to score as arrays as well")
    parser.add_argument("--remove", action="store_true", help="remove the labels at the end")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    labels = make(options.out, options.crops.split(",") if options.crops else None)
    usage = [score(options.out, workers) for workers in options.workers]
    for one, workers in zip(usage[1:], options.workers[1:], strict=True):
        by_clock, by_cpu = usage[0].wall_s / one.wall_s, usage[0].cpu_s / one.critical_s
        print(f"{workers} workers: {by_clock:.2f} times as fast by the clock, {by_cpu:.2f} by CPU seconds")
    sizes = {f"crop{number}": math.prod(crop.shape) for number, crop in get_test_crops().items()}
    fitting = [label for label in labels if sizes[label[0]] <= MOST_VOXELS_AS_ARRAY]
    every = max(1, len(fitting) // max(options.arrays, 1))
    chosen = [(*label, False) for label in labels[: options.alone]]
    chosen += [(*label, True) for label in fitting[::every][: options.arrays]]
    worst = check(options.out, chosen)
    met = worst <= BAR_DIFFERENCE and usage[0].cpu_s <= BAR_MINUTES * 60
    met = met and all(size <= BAR_GIGABYTES * 1e9 for one in usage for size, _ in one.processes)
    if options.remove:
        for name in ("submission.zarr", "ground_truth.zarr", "textures", "made"):
            shutil.rmtree(options.out / name, ignore_errors=True)
    print("met" if met else "MISSED")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
