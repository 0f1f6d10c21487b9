"""Time and memory of making synthetic tissue, and of writing the challenge of the demo.

Run it as ``python benchmarks/synthetic.py [--large]``. Every case runs in a process of its own; its peak memory is that
of the process and of its workers together, imports included. Volumes of 512^3 and more take minutes and only run with
``--large``. Bars: tissue 64^3 under 1 s, 512^3 under 4 GB; for pretraining 512^3 under 3 minutes and 1 GB, 1024^3 under
25 minutes and 2 GB, on two cores.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = {
    "tissue 64^3, 8 nm": "generate_tissue((64, 64, 64))",
    "tissue 128^3, 8 nm": "generate_tissue((128, 128, 128))",
    "tissue 192^3, 4 nm": "generate_tissue((192, 192, 192), (4, 4, 4))",
    "tissue 256^3, 8 nm": "generate_tissue((256, 256, 256))",
    "challenge, quick": "write_challenge(folder, quick=True)",
    "challenge": "write_challenge(folder)",
}
PRETRAINING = {f"pretraining {edge}^3, 8 nm": f"pretraining(folder, {edge})" for edge in (64, 256)}
LARGE = {
    "tissue 512^3, 8 nm": "generate_tissue((512, 512, 512))",
    **{f"pretraining {edge}^3, 8 nm": f"pretraining(folder, {edge})" for edge in (512, 1024)},
}
WORKERS = 2

# Linux counts in units of 1024 bytes, macOS in bytes.
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024


def pretraining(folder: str, edge: int) -> None:
    """Write a volume for pretraining, by two processes."""
    from csc_data.blocks import on_processes
    from csc_data.synthetic.streaming import SpecimenVolume, write_volume

    with on_processes(WORKERS) as execution:
        write_volume(SpecimenVolume(root=Path(folder), shape=(edge, edge, edge), seed=1), execution=execution)


def measure(expression: str) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak GB of an expression, evaluated here."""
    from csc_data.synthetic import generate_tissue, write_challenge

    with tempfile.TemporaryDirectory() as folder:
        names = {
            "pretraining": pretraining,
            "generate_tissue": generate_tissue,
            "write_challenge": write_challenge,
            "folder": folder,
        }
        wall, cpu = time.perf_counter(), time.process_time()
        eval(expression, names)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = own.ru_maxrss + (WORKERS * workers.ru_maxrss if "pretraining" in expression else 0)
    return wall, cpu + workers.ru_utime + workers.ru_stime, peak * BYTES_PER_UNIT / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also the 512^3 volume")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(*measure(arguments.case))
        return
    print(f"{'case':24}{'wall s':>8}{'CPU s':>8}{'GB':>8}")
    for name, expression in (CASES | PRETRAINING | (LARGE if arguments.large else {})).items():
        command = [sys.executable, __file__, "--case", expression]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        wall, cpu, peak = map(float, output.split())
        print(f"{name:24}{wall:8.2f}{cpu:8.2f}{peak:8.2f}", flush=True)


if __name__ == "__main__":
    main()
