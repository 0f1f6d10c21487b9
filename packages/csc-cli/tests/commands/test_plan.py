"""`csc plan` on crops of balls and sheets; steps are not measured, which csc-train's tests show."""

import json
from pathlib import Path

import numpy as np
import pytest

from csc_data.config.experiment import build_settings, read_experiment
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale
from csc_submit import ProcessSettings
from csc_train.settings import PredictSettings, TrainSettings

CLASSES = ("er_mem", "mito")
PLAN = ("plan", "--data", "data", "--no-measure", "--device", "cpu")


@pytest.fixture
def write_crops(tmp_path):
    """Write a data folder with crops of a sheet and of balls."""

    def write(radius_nm=80.0, usages=("train", "train", "validate"), edge=48, absent=()) -> Config:
        config = Config(data=str(tmp_path / "data"))
        rows = []
        z, y, x = np.indices((edge, edge, edge))
        ball = sum((axis - edge // 2) ** 2 for axis in (z, y, x)) <= (radius_nm / 8) ** 2
        labels = {"mito": ball.astype(np.uint8), "er_mem": ((z > 2) & (z < 5)).astype(np.uint8)}
        labels |= {name: np.zeros(ball.shape, np.uint8) for name in absent}
        grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=ball.shape)
        for number, usage in enumerate(usages, start=1):
            folder = config.path("labels", dataset="d", crop=f"crop{number}", class_name="x").parent
            for name in labels:
                write_multiscale(folder / name, [labels[name]], [grid])
            raw = str(config.path("raw", dataset="d"))
            rows.append(SplitRow(usage=usage, raw=raw, labels=str(folder), classes=tuple(labels)))
        write_multiscale(config.path("raw", dataset="d"), [np.full(ball.shape, 100, np.uint8)], [grid])
        write_datasplit(config.path("datasplit"), rows)
        return config

    return write


def read_all(file):
    experiment = read_experiment(Path(file))
    return [build_settings(experiment, cls) for cls in (TrainSettings, PredictSettings, ProcessSettings)]


def test_it_writes_an_experiment_that_every_stage_accepts(run, write_crops):
    write_crops()
    result = run(*PLAN, "--minutes", "5")
    assert result.exit_code == 0, result.output
    train, _, process = read_all("plan.toml")
    assert train.classes == process.classes == CLASSES
    assert train.input_array_info.scale == (8, 8, 8)
    # A quarter of a ball of 80 nm that has lost its outermost voxels, of 8 nm.
    assert process.min_size_nm3["mito"] == pytest.approx(0.25 * 4 / 3 * np.pi * 72**3, rel=0.15)
    text = Path("plan.toml").read_text("utf-8")
    assert "Training is expected to take about" in text
    assert "2 crops of 1 data set" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "next: csc train plan.toml" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[1:3]] == list(CLASSES)


def test_classes_that_want_other_voxels_get_files_of_their_own(run, write_crops, monkeypatch):
    write_crops(radius_nm=368.0, edge=96)
    monkeypatch.setenv("COLUMNS", "80")
    result = run(*PLAN, "-o", "deep/p.toml", "--minutes", "60", "--json")
    assert result.exit_code == 0, result.output
    planned = json.loads(result.stdout)["plans"]
    assert all(Path(each["file"]).is_file() for each in planned)
    assert {choice["name"] for choice in planned[0]["settings"]} >= {"classes", "architecture", "epochs"}
    assert all(len(line) <= 80 for line in result.stderr.splitlines() if line.startswith("  "))
    found = {path.name: read_all(path)[0] for path in Path("deep").glob("*.toml")}
    assert {name: (one.classes, one.input_array_info.scale[0]) for name, one in found.items()} == {
        "p_8nm.toml": (("er_mem",), 8),
        "p_32nm.toml": (("mito",), 32),
    }
    again = run(*PLAN, "-o", "deep/p.toml", "--minutes", "60")
    assert "p_32nm.toml exists" in again.output


def test_what_is_there_is_kept_unless_asked(run, write_crops):
    write_crops()
    Path("plan.toml").write_text("mine", "utf-8")
    refused = run(*PLAN)
    assert refused.exit_code == 1
    assert "plan.toml exists; choose another name with --out, or replace it by --overwrite" in refused.output
    assert Path("plan.toml").read_text("utf-8") == "mine"
    assert run(*PLAN, "--overwrite").exit_code == 0
    assert "classes" in Path("plan.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--datasplit", "none.csv"], "there is no datasplit none.csv", 1),
        (["-c", "mito,golgi"], "golgi: nobody annotated it in a crop that trains", 1),
        (["-o", "plan.py"], "must end in .toml", 2),
        (["--minutes", "0"], "0", 2),
        (["--device", "cuda:99"], "there is no device cuda:99", 1),
    ],
)
def test_mistakes_are_told_in_a_line(run, write_crops, arguments, words, code):
    write_crops()
    result = run(*PLAN, *arguments)
    assert result.exit_code == code
    assert words in result.output
    assert not list(Path().glob("*.toml"))


def test_a_split_without_a_crop_that_trains_is_an_error(run, write_crops):
    write_crops(usages=("validate",))
    result = run(*PLAN)
    assert result.exit_code == 1
    assert "no crop that trains" in result.output


def test_a_class_that_is_present_nowhere_is_left_out_unless_it_was_asked_for(run, write_crops):
    write_crops(absent=("golgi",))
    result = run(*PLAN)
    assert result.exit_code == 0, result.output
    assert "left out, as no crop that trains has any: golgi" in result.output
    assert read_all("plan.toml")[0].classes == CLASSES
    asked = run(*PLAN, "-O", "-c", "mito,golgi")
    assert asked.exit_code == 1
    assert "golgi: is annotated, but no crop that trains has any of it (leave it out)" in asked.output
