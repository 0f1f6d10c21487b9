"""Damaged volumes and submissions, a small share of what `benchmarks/damage.py` tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "damage.py"


@pytest.mark.skipif(sys.platform == "win32", reason="the script bounds its memory, which Windows does otherwise")
def test_no_damage_goes_unseen_where_the_codec_or_a_header_can_tell():
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--cases", "800", "--seed", "3"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    total = next(line for line in run.stdout.splitlines() if line.startswith("all "))
    cases, refused, _, _, wrong = map(int, total.split()[1:])
    assert (cases >= 800, refused > cases / 2, wrong) == (True, True, 0)
