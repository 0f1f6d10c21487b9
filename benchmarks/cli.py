"""How long `csc --help`, each `csc X --help` and completion take; the bar is 0.15 s of CPU time each.

CPU time, as it depends less on what else the machine does; an empty Python is measured in the same run. Completion is
asked as bash asks. Modules are compiled before, as they are where somebody uses the command a second time, also where
PYTHONDONTWRITEBYTECODE is set.

python benchmarks/cli.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from csc_cli.main import COMMANDS

REPEATS = 5
BAR = 0.15
COMPLETED = (
    "csc ",
    "csc tr",
    "csc train --",
    "csc train e.py --set learning_r",
    "csc train e.py --set architecture=3d",
    "csc predict e.py -c ",
    "csc predict e.py --classes mi",
    "csc fetch-data -c ",
    "csc fetch-data -ds jrc",
    "csc evaluate --rules ",
    "csc models show ",
    "csc config set ",
)


def measure(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return the best wall time and CPU time of a command in seconds."""
    walls, cpus = [], []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(cpus)


def asked_for(line: str) -> dict[str, str]:
    """Return the variables by which bash asks what a line could go on with."""
    words = line.split(" ")
    return {"_CSC_COMPLETE": "bash_complete", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}


def main() -> None:
    """Print the table."""
    print(f"{'command':40} {'wall s':>8} {'CPU s':>8}   (best of {REPEATS})")
    base = [sys.executable, "-m", "csc_cli"]
    rows: list[tuple[str, list[str], dict[str, str]]] = [
        ("python -c pass (reference)", [sys.executable, "-c", "pass"], {}),
        ("python -c 'import click' (reference)", [sys.executable, "-c", "import click"], {}),
        ("csc --help", [*base, "--help"], {}),
        *((f"csc {name} --help", [*base, name, "--help"], {}) for name in COMMANDS),
        *((f"{line}<TAB>", base, asked_for(line)) for line in COMPLETED),
    ]
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = compiled
        for name, command, asked in rows:
            wall, cpu = measure(command, {**environment, **asked})
            over = f"   over the bar of {BAR} s" if cpu > BAR else ""
            print(f"{name:40} {wall:8.3f} {cpu:8.3f}{over}")


if __name__ == "__main__":
    main()
