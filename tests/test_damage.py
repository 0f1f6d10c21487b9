"""Damaged volumes, submissions and checkpoints: a small share of what two scripts under `benchmarks` try."""

from __future__ import annotations

import random
import runpy
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


def test_no_damaged_checkpoint_loads_with_something_else_in_it(tmp_path):
    pytest.importorskip("safetensors", reason="needs csc-models[safetensors]")
    script = runpy.run_path(str(SCRIPT.with_name("damaged_checkpoints.py")))
    for file in script["make_files"](tmp_path, 2):
        rows = script["try_damage"](file, 25, random.Random(7))
        assert sum(row[0] for row in rows.values()) == 25
        assert sum(row[1] for row in rows.values()) > 20, rows  # refused; some flips change nothing
        assert sum(row[3] for row in rows.values()) == 0, rows
