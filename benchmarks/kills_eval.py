"""Kills ``csc-eval`` at random moments, and looks for what is left: processes, halves of files, wrong scores.

``python benchmarks/kills_eval.py [--kills 20] [--workers 3] [--seed 0]``: every other time by TERM, else by KILL, of
the parent alone. After each, no process of its tree may be there, results are whole or not there, and a run that goes
on with what was kept gives what an undisturbed one gives.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from csc_data.formats.writing import create_array

MARK = "CSC_EVAL_KILLS"
"""A variable of the environment by which children are known, whoever their parent has become."""

PATIENCE = 20.0
CLASSES = ("mito", "ves", "er", "cell", "nuc", "pm")


def write_pair(root: Path, rng: np.random.Generator, crops: int = 4, edge: int = 96) -> None:
    """Write a truth and a submission of many labels."""
    for crop in range(crops):
        for name in CLASSES:
            seeds = rng.integers(0, 40, (edge // 8,) * 3).astype(np.uint16)
            truth = np.where(seeds < 20, 0, seeds).repeat(8, 0).repeat(8, 1).repeat(8, 2)
            noise = rng.random(truth.shape) < 0.02
            place = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
            for folder, values in (("truth", truth), ("submission", np.where(noise, 7, truth))):
                array = create_array(
                    root / f"{folder}.zarr/crop{crop}/{name}",
                    shape=truth.shape, dtype=np.dtype("uint16"), chunks=(32, 32, 32), attributes=place,
                )  # fmt: skip
                array[...] = values.astype(np.uint16)


def _command(root: Path, workers: int) -> list[str]:
    program = Path(sys.executable).with_name("csc-eval")
    paths = ["-s", str(root / "submission.zarr"), "-t", str(root / "truth.zarr"), "-r", str(root / "r.json")]
    return [str(program), *paths, "--workers", str(workers), "--resume", str(root / "kept")]


def _start(root: Path, workers: int, mark: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(_command(root, workers), env={**os.environ, MARK: mark}, stdout=quiet, stderr=quiet)


def processes_of(mark: str) -> list[int]:
    """Return the processes that carry a mark, but for those that have ended and are not waited for."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            held = place.name.isdigit() and f"{MARK}={mark}".encode() in (place / "environ").read_bytes().split(b"\0")
            if held and "\nState:\tZ" not in (place / "status").read_text():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def _kept(root: Path) -> int:
    return len((root / "kept").read_text().splitlines()) if (root / "kept").exists() else 0


def kill_once(root: Path, workers: int, after: int, number: int) -> tuple[str, list[str]]:
    """Start a run, kill it after so many labels, and look; returns what became of it and what is wrong."""
    for name in ("r.json", "r_extended.json", "kept"):
        (root / name).unlink(missing_ok=True)
    mark = f"{os.getpid()}-{number}"
    run = _start(root, workers, mark)
    if not after:  # somewhere in its imports, or while its workers start
        time.sleep(random.uniform(0, 3))
    while _kept(root) < after and run.poll() is None:
        time.sleep(0.005)
    there = len(processes_of(mark))
    kind = signal.SIGTERM if number % 2 else signal.SIGKILL
    run.send_signal(kind)
    run.wait()
    end = time.monotonic() + PATIENCE
    while (left := processes_of(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    faults = [f"{len(left)} processes are left"] if left else []
    for process in left:
        os.kill(process, signal.SIGKILL)
    for name in ("r.json", "r_extended.json"):
        try:
            json.loads((root / name).read_text())
        except FileNotFoundError:
            pass
        except ValueError:
            faults.append(f"{name} is half written")
    return f"{kind.name}: {there} processes, {_kept(root)} labels kept", faults


def _scores(root: Path) -> object:
    document = json.loads((root / "r_extended.json").read_text())
    return {name: value for name, value in document.items() if name != "scored"}


def main() -> int:
    """Kill as often as asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    root = Path(tempfile.mkdtemp(prefix="kills-", dir=options.folder))
    faults: list[str] = []
    try:
        write_pair(root, rng)
        began = time.monotonic()
        _start(root, options.workers, "whole").wait()
        expected, labels = _scores(root), _kept(root)
        print(f"undisturbed: {time.monotonic() - began:.1f} s, {labels} labels")
        for number in range(options.kills):
            said, found = kill_once(root, options.workers, int(rng.integers(0, labels)), number)
            _start(root, options.workers, "again").wait()
            if _scores(root) != expected:
                found.append("going on gives another result")
            print(said, *found, sep="; ", flush=True)
            faults += found
        left = [path.name for path in root.glob("*.part")]
        print(f"{options.kills} kills, {len(faults)} faults" + (f"; left: {', '.join(left)}" if left else ""))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
