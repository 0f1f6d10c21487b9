"""The benchmark of gathering on a GPU, tried out where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "loader_gpu.py"


def run(*options: str) -> str:
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
def test_all_of_it_runs_at_small_sizes_on_the_cpu():
    told = run("--device", "cpu", "--workers", "0")
    for line in ("raw, voxels that differ", "16x16x16 5 classes rotated, scaled", "gathered on the device"):
        assert line in told


def test_without_a_gpu_it_says_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run().startswith("no GPU here")
