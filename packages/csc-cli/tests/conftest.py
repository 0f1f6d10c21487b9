from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import ndimage

from csc_cli.main import csc
from csc_cli.submission import SubmitOptions, SubmitResult, submit
from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

RAW = Grid(voxel_size=(8, 8, 8), translation=(100, 204, 308), shape=(34, 38, 42))
CROPS = {1: ((2, 3, 4), (24, 26, 28), ("er", "mito", "nuc")), 2: ((0, 0, 0), (20, 20, 20), ("er", "mito"))}
EXPERIMENT = """
import torch
from torch import nn

class GivesRawBack(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        logit = torch.logit(x.clamp(1e-4, 1 - 1e-4)) * self.weight
        return torch.cat([logit, -logit], dim=1)

classes = ["mito", "er"]
model = GivesRawBack()
input_array_info = {"shape": (16, 16, 16), "scale": (8, 8, 8)}
checkpoint = "untrained"
device = "cpu"
min_voxels = {"mito": 20}
block_shape = (16, 16, 16)
"""


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Give each test a configuration folder and a working folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CSC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command in this process; what is not a message for the user is raised."""

    def run_command(*arguments: str) -> Result:
        result = CliRunner().invoke(csc, list(arguments), catch_exceptions=False, prog_name="csc")
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result

    return run_command


@dataclass(frozen=True)
class World:
    """A data folder with two small test crops, and an experiment whose network gives raw back: nothing to train."""

    config: Config
    experiment: Path

    def submit(self, crops=None, watch=None, **options) -> SubmitResult:
        return submit(self.experiment, crops, config=self.config, options=SubmitOptions(**options), watch=watch)

    def edit(self, old: str, new: str) -> None:
        text = self.experiment.read_text("utf-8")
        assert old in text
        self.experiment.write_text(text.replace(old, new), "utf-8")

    @property
    def archive(self) -> Path:
        return self.config.root / "submission.zip"

    @property
    def work(self) -> Path:
        return self.config.root / "submission.work"

    def packed(self) -> dict[str, bytes]:
        return files(self.config.path("submission"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_world(root: Path) -> World:
    config = Config(data=str(root / "data"))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random(RAW.shape), 2)
    raw = ((noise - noise.min()) / (noise.max() - noise.min()) * 255).astype(np.uint8)
    write_multiscale(config.path("raw", dataset="a"), [raw], [RAW], chunks=(16, 16, 16))
    crops = []
    for number, (begin, shape, classes) in CROPS.items():
        grid = RAW.window(begin, shape)
        place = {"voxel_size": grid.voxel_size, "translation": grid.translation, "shape": grid.shape}
        crops.append(TestCrop(id=number, dataset="a", classes=classes, **place))
    write_test_crops(config.root / FILE_NAME, crops)
    experiment = root / "experiment.py"
    experiment.write_text(EXPERIMENT, "utf-8")
    return World(config, experiment)


@pytest.fixture
def world(tmp_path) -> World:
    return make_world(tmp_path)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory) -> World:
    """What is made of it in one go; not to be changed."""
    made = make_world(tmp_path_factory.mktemp("unbroken"))
    made.submit()
    return made
