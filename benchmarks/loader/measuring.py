"""Seconds, bytes and processes: each measurement runs in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "loader.py"
# Linux counts in units of 1024 bytes, macOS in bytes.
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
# A server on loopback must not be asked for through a proxy; threads would blur whose time it is.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one process measured.

    Attributes
    ----------
    cpu, wall : float
        Seconds a patch, or to the first batch.
    memory : float
        GB: the peak of the process, or what is said where it is measured.
    grown : float
        Memory at the end against that after a tenth of the way.
    batch_bytes : int
        Of all tensors of a batch.
    requests, at_once : int
        To S3, and how many at once.
    """

    cpu: float = 0.0
    wall: float = 0.0
    memory: float = 0.0
    grown: float = 0.0
    batch_bytes: int = 0
    requests: int = 0
    at_once: int = 0


class NotInstalledError(Exception):
    """A library to compare with is not there."""


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def peak_gb() -> float:
    """Return the most memory that this process or one of its children held."""
    status = Path("/proc/self/status")
    if status.exists():  # what resource tells of this process is its parent's, if that is more
        (line,) = (line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return max(int(line.split()[1]), children) * BYTES_PER_UNIT / 1e9
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most * BYTES_PER_UNIT / 1e9


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def tree_gb() -> float:
    """Return the memory that this process and all below it hold now; pages that they share count once."""
    total = 0
    waiting = [os.getpid()]
    while waiting:
        place = Path("/proc") / str(waiting.pop())
        for line in (place / "smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        for task in (place / "task").iterdir():
            waiting += map(int, (task / "children").read_text("ascii").split())
    return total / 1e9


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in a batch, whatever holds them."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(tensor_bytes, value))
    return sum(map(tensor_bytes, vars(value).values())) if hasattr(value, "__dict__") else 0


def clock(
    batches: Iterator[Any],
    patches: int,
    size: int,
    check: Callable[[Any], None],
    each: Callable[[], None] | None = None,
) -> Result:
    """Measure so many patches; `each` is called before each batch, and not counted."""
    cpu = wall = 0.0
    for _ in range(-(-patches // size)):
        if each is not None:
            each()
        before = cpu_seconds(), time.perf_counter()
        batch = next(batches)
        cpu, wall = cpu + cpu_seconds() - before[0], wall + time.perf_counter() - before[1]
        check(batch)
    count = -(-patches // size) * size
    return Result(cpu=cpu / count, wall=wall / count, memory=peak_gb(), batch_bytes=tensor_bytes(batch))


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Measures parts in processes of their own.

    Attributes
    ----------
    folder : Path
        Where the volumes are.
    divisor : int
        How many times fewer patches than works say; for trying the script out.
    """

    folder: Path
    divisor: int = 1

    def run(self, part: str, work: str, *arguments: str, repeats: int = 2, **environment: str) -> Result:
        """Measure a part, and return the run that took the least.

        Raises
        ------
        NotInstalledError
            If it needs a library that is not there.
        """
        results = []
        for _ in range(repeats if self.divisor == 1 else 1):
            command = [sys.executable, "-W", "ignore", str(SCRIPT), "--data", str(self.folder)]
            command += ["--divisor", str(self.divisor), "--part", part, work, *arguments]
            with tempfile.TemporaryDirectory() as cache:  # counts of classes are kept there: not from run to run
                own = {"XDG_CACHE_HOME": cache, "BENCHMARK_STARTED": str(time.time())}
                variables = {**os.environ, **ONE_THREAD, **own, **environment}
                done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            if NotInstalledError.__name__ in done.stderr:
                raise NotInstalledError(done.stderr.splitlines()[-1])
            if done.returncode:
                raise SystemExit(f"{part} {work} failed:\n{done.stderr}")
            results.append(Result(**json.loads(done.stdout.splitlines()[-1])))
        key = "wall" if part in ("workers", "first", "requests") else "cpu"
        return min(results, key=lambda result: float(getattr(result, key)))


def tell(result: Result) -> None:
    """Print a result for the process that asked for it."""
    print("\n" + json.dumps(asdict(result)))
