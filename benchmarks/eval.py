"""Time and memory of csc-eval against its bars, everything included: process, imports, reading, scoring, printing.

    python benchmarks/eval.py --data FOLDER [--cases m1,m3,...] [--without-naive]

CPU seconds are those of the whole process tree less those of `python -c "import click, numpy"`, the least of some runs
of each, taken in turn, with modules compiled as in an installation; the peak is the largest sum of resident memory seen
while it runs. The first case is also scored by a naive reference, which reads whole volumes and transforms distances
once per instance, for comparison on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eval_cases import BARS, CASES, OFFICIAL
from scipy import ndimage

BARE = [sys.executable, "-c", "import click, numpy"]
COMMAND = [sys.executable, "-c", "from csc_eval.command.group import main; main()"]
KILOBYTE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process tree took."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


def tree_memory(pid: int) -> int:
    """Resident memory of a process and its children, in bytes; 0 where /proc does not tell."""
    total = 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        total += next(int(line.split()[1]) * KILOBYTE for line in status.splitlines() if line.startswith("VmHWM"))
        children = [listed.read_text().split() for listed in Path(f"/proc/{pid}/task").glob("*/children")]
    except (OSError, StopIteration):
        return total
    return total + sum(tree_memory(int(child)) for of_thread in children for child in of_thread)


def measure(command: list[str], compiled: Path) -> tuple[Usage, str]:
    """Run a command, its modules compiled in a folder; returns what it took and what it printed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    peak = 0
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not finished.wait(0.005):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    finished.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(cpu_seconds=cpu, wall_seconds=time.monotonic() - began, peak_bytes=peak), output


def check(name: str, result_file: Path) -> str:
    """Compare with the official numbers; returns a word."""
    if name not in OFFICIAL:
        return "-"
    extended = json.loads(result_file.with_name("result_extended.json").read_text())
    labels = next(value for key, value in extended.items() if key.startswith("crop"))
    for class_name, (tp, fp, fn, norm_sum) in OFFICIAL[name].items():
        label = labels[class_name]
        counts = (label["tp"], label["fp"], label["fn"])
        if counts != (tp, fp, fn) or abs(label.get("hausdorff_norm_sum", 0.0) - norm_sum) > 1e-9:
            return f"DIFFERS ({class_name})"
    return "equal"


def naive_seconds(name: str) -> float:
    """CPU seconds of scoring a case with one distance transform of the whole volume per instance, and no tricks."""
    began = time.process_time()
    for label in CASES[name]():
        t, p = label.truth, label.prediction
        if label.class_name not in ("cell", "ves", "mito"):
            np.count_nonzero((t > 0) & (p > 0))
            continue
        pieces = []
        for value in np.unique(p[p > 0]):
            components, count = ndimage.label(p == value, np.ones((3, 3, 3)))
            pieces += [components == number for number in range(1, count + 1)]
        for number in np.unique(t[t > 0]):
            own = t == number
            overlaps = [np.count_nonzero(own & piece) for piece in pieces]
            if not any(overlaps):
                continue
            other = pieces[int(np.argmax(overlaps))]
            for one, two in ((own, other), (other, own)):
                ndimage.distance_transform_edt(~two, sampling=label.voxel_size)[one].max()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="where the cases are made and kept (3 GB of memory, minutes)")
    parser.add_argument("--cases", default=",".join(BARS))
    parser.add_argument("--without-naive", action="store_true")
    parser.add_argument("--repeat", type=int, default=3, help="runs per case; the least CPU time counts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data or Path(scratch)
        print("case         CPU s    bar  before  official  peak GB   bar  numbers  verdict")
        missed = 0
        for name in arguments.cases.split(","):
            subprocess.run(
                [sys.executable, str(Path(__file__).with_name("eval_cases.py")), name, str(data)], check=True
            )
            submission, truth = data / name / "submission.zarr", data / name / "ground_truth.zarr"
            result_file, compiled = Path(scratch, "result.json"), Path(scratch, "compiled")
            command = [*COMMAND, "-s", str(submission), "-t", str(truth), "-r", str(result_file)]
            turns = [(measure(BARE, compiled)[0], measure(command, compiled)[0]) for _ in range(arguments.repeat + 1)]
            turns = turns[1:]  # the first compiles
            seconds = min(run.cpu_seconds for _, run in turns) - min(bare.cpu_seconds for bare, _ in turns)
            gigabytes = max(run.peak_bytes for _, run in turns) / 1e9
            bar, numbers = BARS[name], check(name, result_file)
            good = seconds <= bar.seconds and gigabytes <= bar.gigabytes and "DIFF" not in numbers
            missed += not good
            print(
                f"{name:10} {seconds:7.2f} {bar.seconds:6.2f} {bar.before:7.2f} {bar.official:>9} {gigabytes:8.2f} "
                f"{bar.gigabytes:5.2f}  {numbers:7}  {'met' if good else 'MISSED'}",
                flush=True,
            )
        if not arguments.without_naive:
            first = arguments.cases.split(",")[0]
            print(f"{first} by the naive reference: {naive_seconds(first):.1f} CPU s")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
