"""Experiments side by side, on the data of the quick demo, and a demo that was moved."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from csc_cli.main import csc
from csc_data.splits.split_file import read_datasplit

pytestmark = pytest.mark.slow

FEW = ("--set", "iterations_per_epoch=1", "--set", "batch_size=1", "--set", "num_workers=0", "--device", "cpu")
TINY = {
    "2d": ("input_array_info={'shape': (1, 32, 32), 'scale': (8, 8, 8)}", "model_kwargs={'width': 2}"),
    "3d": ("input_array_info={'shape': (32, 32, 32), 'scale': (8, 8, 8)}", "model_kwargs={'width': 2}"),
    "mednext": ("input_array_info={'shape': (32, 32, 32), 'scale': (8, 8, 8)}", "model_kwargs={'width': 2}"),
    "cosem": (
        "input_array_info={'shape': (28, 28, 28), 'scale': (8, 8, 8)}",
        "model_kwargs={'features': (2, 3), 'factors': (2,)}",
    ),
    "instances": ("input_array_info={'shape': (32, 32, 32), 'scale': (8, 8, 8)}", "model_kwargs={'width': 2}"),
    "plan": (
        "input_array_info={'shape': (16, 16, 16), 'scale': (8, 8, 8)}",
        "architecture=3d_unet_s",
        "model_kwargs={'width': 2, 'depth': 2}",
        "further_inputs={}",
    ),
}


@pytest.fixture
def csc_run(tmp_path, monkeypatch):
    """Run a command in this process, in a folder of its own, and return what it printed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CSC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, fails: bool = False) -> str:
        done = CliRunner().invoke(csc, list(arguments), catch_exceptions=False, prog_name="csc")
        assert (done.exit_code != 0) == fails, done.output
        return done.output

    return run


@pytest.fixture
def data(quick_demo, tmp_path):
    """Return a data folder, a copy of the demo's without what was made of it, which was moved since it was split."""
    folder = tmp_path / "data"
    made = shutil.ignore_patterns("predictions", "processed", "submission.*", "checkpoints", "tensorboard")
    shutil.copytree(quick_demo[0] / "csc-demo", folder, ignore=made)
    text = (folder / "datasplit.csv").read_text("utf-8")
    assert str(quick_demo[0]) in text
    (folder / "datasplit.csv").write_text(text.replace(str(quick_demo[0]), "/gone"), "utf-8")
    return folder


def test_a_demo_that_was_moved_trains_predicts_and_is_evaluated(csc_run, data):
    file = str(data / "train_3D.py")
    tiny = (
        "--set",
        "input_array_info={'shape': (16, 16, 16), 'scale': (8, 8, 8)}",
        "--set",
        "model_kwargs={'depth': 2, 'width': 2}",
    )
    out = csc_run("train", file, "--data", "data", "--epochs", "1", *FEW, *tiny, "--set", "images=0")
    network = re.search(r"^next: (csc predict (\S+) .*)$", out, re.MULTILINE)
    assert network[1].endswith("--data data")
    assert Path(network[2]).is_relative_to(data)
    csc_run("predict", network[2], "--data", "data", "-c", "validation", "--overlap", "0")
    csc_run("process", file, "--data", "data")
    csc_run("evaluate", "--data", "data", "--datasplit", "data/datasplit.csv", "-r", "scored.json")
    rows = read_datasplit(data / "datasplit.csv")
    assert all(Path(row.labels).is_relative_to(data) for row in rows)
    [validating] = [row.crop for row in rows if row.usage == "validate"]
    assert validating in json.loads(Path("scored_extended.json").read_text("utf-8"))


@pytest.mark.parametrize("template", TINY)
def test_each_template_is_ready_to_run(csc_run, data, template):
    made = csc_run("new-experiment", "first", "--template", template, "--data", "data")
    folder = Path("experiments/first")
    expected = {
        "__init__.py",
        "train_config.py",
        "process_config.py",
        "datasplit.csv",
        "README.md",
        "logs",
        "checkpoints",
    }
    assert expected <= {entry.name for entry in folder.iterdir()}
    assert "csc train -e first --dry-run --data data" in made
    settings = [word for text in TINY[template] for word in ("--set", text)]
    assert "next: the same without" in csc_run("train", "-e", "first", "--data", "data", "--dry-run", *FEW, *settings)
    assert not list(folder.glob("logs/*"))
