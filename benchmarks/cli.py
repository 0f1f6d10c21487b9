"""How long `csc --help` and each `csc X --help` take; the bar is 0.3 s. Compared with an empty Python in the same run.

python benchmarks/cli.py
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from csc_cli.main import COMMANDS

REPEATS = 5


def measure(command: list[str]) -> tuple[float, float]:
    """Return the best wall time and CPU time of a command in seconds."""
    walls, cpus = [], []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(cpus)


def main() -> None:
    """Print the table."""
    print(f"{'command':32} {'wall s':>8} {'CPU s':>8}   (best of {REPEATS})")
    rows = [("python -c pass (reference)", [sys.executable, "-c", "pass"])]
    base = [sys.executable, "-m", "csc_cli"]
    rows.append(("csc --help", [*base, "--help"]))
    rows += [(f"csc {name} --help", [*base, name, "--help"]) for name in COMMANDS]
    for name, command in rows:
        wall, cpu = measure(command)
        print(f"{name:32} {wall:8.3f} {cpu:8.3f}{'   over the bar of 0.3 s' if wall > 0.3 else ''}")


if __name__ == "__main__":
    main()
