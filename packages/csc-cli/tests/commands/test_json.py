"""What programs read: --json of every command that has it, and tables that fit 80 columns of a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from csc_cli.main import csc
from csc_data.volumes import open_volume, write_multiscale

TRAINING = "model_name = 'm'\nbatch_size = 1\nepochs = 1\niterations_per_epoch = 2\nspatial_transforms = {}\n"
# In the order of the path; those that leave something for others first.
CALLS = [
    ("config", "show"),
    ("list", "."),
    ("classes",),
    ("settings", "process"),
    ("models", "list", "2d_unet*"),
    ("models", "show", "2d_unet_s"),
    ("models", "pretrained"),
    ("get-counts",),
    ("make-datasplit", "--validation-prob", "0.5"),
    ("data-preview", "e.py", "-n", "2"),
    ("pretrain", "p.toml", "--dry-run"),
    ("train", "e.py", "--dry-run"),
    ("train", "e.py"),
    ("models", "check", "checkpoints/m_1.pth"),
    ("predict", "e.py", "-c", "validation", "--dry-run"),
    ("predict", "e.py", "-c", "validation"),
    ("predict", "e.py", "-c", "validation", "--check"),
    ("tune", "e.py", "--trials", "5"),
    ("submit", "e.py", "--dry-run"),
    ("submit", "e.py", "--keep"),
    ("process", "e.py"),
    ("pack-results", "--overwrite"),
    ("validate", "data/submission.zip", "--labels"),
    ("evaluate", "--datasplit", "data/datasplit.csv", "-r", "one.json"),
    ("compare", "one.json", "two.json"),
]


def all_commands(group=csc, names=()):
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from all_commands(command, (*names, name))
            else:
                yield (*names, name), command


def test_every_command_that_has_it_is_tried():
    having = {
        names for names, command in all_commands() if any("--json" in p.opts and p.is_flag for p in command.params)
    }
    # In tests of their own; the last one is `models show` by its former name.
    elsewhere = {(name,) for name in ("fetch-data", "verify-data", "plan", "doctor", "speedtest")} | {
        ("models", "card")
    }
    tried = {names for names in having for call in CALLS if call[: len(names)] == names}
    assert having - elsewhere == tried


@pytest.fixture
def annotated(world):
    """A data folder with two annotated crops beside its test crops, and an experiment that can be trained."""
    config = world.config
    raw = open_volume(config.path("raw", dataset="a")).levels[0]
    for number, corner in ((11, (0, 0, 0)), (12, (12, 16, 20))):
        crop = raw.grid.window(corner, (20, 20, 20))
        bright = np.asarray(raw.array[tuple(slice(begin, begin + 20) for begin in corner)]) > 127
        for name, labels in (("mito", bright), ("er", ~bright)):
            place = config.path("labels", dataset="a", crop=f"crop{number}", class_name=name)
            write_multiscale(place, [labels.astype("u1")], [crop])
    (config.root / "manifest.csv").write_text("crop_number,collection,alignment,crop_url,em_url\n", "utf-8")
    shape = "input_array_info = {shape = [16, 16, 16], scale = [8, 8, 8]}\n"
    network = 'classes = ["er"]\narchitecture = "3d_unet_s"\ndevice = "cpu"\n'
    Path("p.toml").write_text(network + shape + TRAINING, "utf-8")
    Path("e.py").write_text(world.experiment.read_text("utf-8") + TRAINING, "utf-8")


def strict(text):
    def refuse(name):
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def too_wide(text):
    """Return lines of tables, which have two spaces between columns, that 80 columns do not hold."""
    return [line for line in text.splitlines() if re.search(r"\S  +\S", line) and len(line) > 80]


def test_a_document_is_all_that_stdout_holds_whoever_prints(tmp_path):
    """Also what other processes print, which write to the descriptor."""
    script = tmp_path / "prints.py"
    script.write_text(
        "import subprocess, sys\nfrom csc_cli.console import answer, answering_in_json, say\n"
        "with answering_in_json():\n"
        "    say('a line')\n    subprocess.run([sys.executable, '-c', 'print(7)'], check=True)\n"
        "    answer({'values': (1.5, float('nan')), 'place': __import__('pathlib').PurePosixPath('a/b')})\n"
        "print('after')\n",
        "utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=True)
    document, _, after = done.stdout.rpartition("}")
    assert strict(document + "}") == {"values": [1.5, None], "place": "a/b"}
    assert after.split() == ["after"]
    assert done.stderr.split() == ["a", "line", "7"]


@pytest.mark.slow
def test_each_gives_one_document_and_its_tables_fit(run, annotated, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for call in CALLS:
        result = run(*call, "--json")
        assert result.exit_code in (0, 1), call
        assert result.stdout, (call, result.stderr)
        assert strict(result.stdout), call
        assert not too_wide(result.stderr), call
        if call[0] == "evaluate":
            text = Path("one_extended.json").read_text("utf-8")
            Path("two.json").write_text(text.replace('"tp": 1', '"tp": 0'), "utf-8")
        if call[0] in ("evaluate", "compare"):  # JSON instead of their tables
            assert not too_wide(run(*call).stdout)
