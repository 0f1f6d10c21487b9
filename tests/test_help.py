"""`csc --help` and every `csc X --help` are quick because they import neither torch, zarr nor numpy."""

import json
import subprocess
import sys

import pytest

from csc_cli.main import COMMANDS

HEAVY = {"torch", "zarr", "numpy", "scipy", "numba", "skimage", "rich", "pydantic"}

PROBE = """
import json, sys
from csc_cli.main import csc
try:
    csc(sys.argv[1:], prog_name="csc")
except SystemExit as end:
    print("\\n" + json.dumps({"code": end.code, "modules": sorted({m.partition(".")[0] for m in sys.modules})}))
"""


def run_help(*arguments):
    command = [sys.executable, "-c", PROBE, *arguments, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    text, _, last = result.stdout.rstrip().rpartition("\n")
    return text, json.loads(last)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("config", "set"), ("config", "show")])
def test_help_imports_nothing_heavy(command):
    text, seen = run_help(*command)
    assert seen["code"] == 0
    assert "Usage: csc" in text
    assert not HEAVY & set(seen["modules"])


def test_help_lists_every_command_with_a_sentence():
    text, _ = run_help()
    for name in COMMANDS:
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name} "))
        assert len(line.split()) > 3, line
