"""What a type checker says of people's scripts: lists and mappings pass, misspelt names and wrong types do not."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csc_data.config.reference import accepted_types
from csc_submit.settings import ProcessOverrides, ProcessSettings
from csc_train.overrides import PredictOverrides, TrainOverrides
from csc_train.settings import PredictSettings, TrainSettings

pytest.importorskip("mypy")

GOOD = """
from pathlib import Path

from csc_data import Grid, Roi
from csc_data.config.user_config import Config
from csc_data.loader import ArrayInfo, get_dataloader
from csc_data.loader.intensity import Gamma, MissingSections
from csc_data.loader.targets import AffinityTarget
from csc_submit import ProcessSettings, process
from csc_train import PredictSettings, TrainSettings, predict, train

grid = Grid(voxel_size=[8, 8, 8], translation=[4, 4, 4], shape=[10, 10, 10])
size: tuple[float, float, float] = grid.voxel_size
box: tuple[float, float, float] = Roi([0, 0, 0], [8, 8, 8]).end

settings = TrainSettings(
    classes=["mito", "er"],
    datasplit_path="datasplit.csv",
    input_array_info={"shape": [64, 64, 64], "scale": [8, 8, 8]},
    target_array_info=ArrayInfo(shape=[64, 64, 64], scale=[8, 8, 8]),
    raw_range=[-1, 1],
    spatial_transforms={"mirror": True},
    intensity_transforms={"gamma": {}},
    load_model=Path("x.pth"),
    learning_rate=1,
)
classes: tuple[str, ...] = settings.classes
voxels: tuple[int, int, int] = settings.input_array_info.shape
low: float = settings.raw_range[0]
path: Path | None = settings.datasplit_path
train(settings, epochs=None, classes=["mito"], device="cpu", input_array_info={"shape": [8, 8, 8], "scale": [8, 8, 8]})
predict("x.py", batch_size=2, halo=[8, 8, 8], crops=["557"])
PredictSettings(patch_shape=[64, 64, 64])
own = ProcessSettings(classes=["mito"], threshold={"mito": 0.5}, block_shape=[64, 64, 64])
process(own, config=Config(), min_voxels={"mito": 3}, existing="resume")
get_dataloader("x.csv", ["mito"], batch_size=1, input_array_info={"shape": [8, 8, 8], "scale": [8, 8, 8]})
transforms = [Gamma(range=[0.5, 2]), MissingSections(count=[1, 2], fill=["black"])]
exponents: tuple[float, float] = Gamma().range
AffinityTarget(offsets=[[-1, 0, 0], [0, -1, 0]])
"""

WRONG = """
from csc_data import Grid
from csc_data.config.user_config import Config
from csc_data.loader.intensity import Gamma
from csc_submit import ProcessSettings, process
from csc_train import TrainSettings, predict, train

train("x.py", epoks=10)
train("x.py", epochs="10")
predict("x.py", patch_shap=[8, 8, 8])
process("x.py", config=Config(), treshold=0.5)
TrainSettings(classes=["er"], epoks=10)
TrainSettings(epochs=10)
TrainSettings(classes=["er"], mednext_size="xl")
ProcessSettings(connectivity=7)
Grid(voxel_size=["8", 8, 8], translation=[4, 4, 4], shape=[10, 10, 10])
Gamma(rang=[1, 2])
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return what mypy says of both scripts: line numbers by script."""
    folder, root = tmp_path_factory.mktemp("scripts"), Path(__file__).parents[1]
    for name, text in (("good.py", GOOD), ("wrong.py", WRONG)):
        (folder / name).write_text(text)
    options = ["--strict", "--config-file", str(root / "pyproject.toml"), "--cache-dir", str(root / ".mypy_cache")]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "good.py", "wrong.py"],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "MYPY_FORCE_COLOR": "0"},
    )  # fmt: skip
    assert not run.stderr, run.stderr
    return run.stdout


def test_scripts_with_lists_and_mappings_pass(said):
    assert not [line for line in said.splitlines() if line.startswith("good.py")]


def test_misspelt_names_and_wrong_types_do_not(said):
    found = {int(line) for line in re.findall(r"^wrong\.py:(\d+): error", said, re.MULTILINE)}
    lines = WRONG.splitlines()
    assert found == {number for number, line in enumerate(lines, 1) if "(" in line}


@pytest.mark.parametrize(
    ("overrides", "cls", "arguments"),
    [
        (TrainOverrides, TrainSettings, ()),
        (PredictOverrides, PredictSettings, ("crops",)),
        (ProcessOverrides, ProcessSettings, ("existing",)),
    ],
)
def test_overrides_are_the_settings_and_may_be_none(overrides, cls, arguments):
    accepted = {name: type_ for name, type_ in accepted_types(cls).items() if name not in arguments}
    written = {name: eval(type_.__forward_arg__, vars(sys.modules[overrides.__module__]))
               for name, type_ in overrides.__annotations__.items()}  # fmt: skip
    assert written == {name: type_ if type_ is Any else type_ | None for name, type_ in accepted.items()}
