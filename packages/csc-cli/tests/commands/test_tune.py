"""``csc tune``: the file that it writes, and what it says."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from scipy import ndimage

from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import StoredValues

GRID = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(12, 14, 16))


@pytest.fixture
def crops():
    """Write four validation crops of er whose probabilities are too low."""
    config = Config(data="data")
    rows = []
    generator = np.random.default_rng(0)
    for number in range(4):
        values = ndimage.gaussian_filter(generator.random(GRID.shape), 2)
        truth = (values > np.quantile(values, 0.8)).astype("u1")
        noise = ndimage.gaussian_filter(generator.standard_normal(GRID.shape), 1)
        said = np.clip(255 * (0.45 * truth + 0.1 + 0.2 * noise), 0, 255).astype("u1")
        names = {"dataset": "x", "crop": f"crop{number}", "class_name": "er"}
        write_multiscale(config.path("labels", **names), [truth], [GRID], chunks=(8, 8, 8))
        attributes = StoredValues(kind="probability", one=255.0).to_attributes()
        write_multiscale(config.path("predictions", **names), [said], [GRID], chunks=(8, 8, 8), attributes=attributes)
        labels = str(config.path("labels", **names).parent)
        rows.append(SplitRow(usage="validate", raw="raw", labels=labels, classes=("er",)))
    write_datasplit(config.path("datasplit"), rows)


def test_it_writes_what_it_found_and_csc_process_takes_it(run, tmp_path, crops):
    (tmp_path / "train.toml").write_text('classes = ["er", "mito"]\nthreshold = {mito = 0.7}\n', encoding="utf-8")
    result = run("tune", "train.toml", "--trials", "200")
    assert result.exit_code == 0, result.output
    assert "threshold 0.5 -> 0." in result.output
    assert "next: csc process tuned.toml" in result.output
    text = (tmp_path / "tuned.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    assert found["classes"] == ["er", "mito"]
    assert found["threshold"]["er"] < 0.5
    assert found["threshold"]["mito"] == 0.7
    assert "# was 0.5; +" in text
    assert "better in 4 of 4 folds" in text
    assert run("process", "tuned.toml").exit_code == 0
    assert "replace it by --overwrite" in run("tune", "train.toml").output
    assert run("tune", "train.toml", "-O", "--seconds", "0.01", "-c", "er").exit_code == 0


def test_it_refuses_other_files_and_says_what_to_predict(run, tmp_path, crops):
    assert run("tune", "train.toml", "-o", "tuned.py").exit_code == 2
    (tmp_path / "train.toml").write_text("threshold = 0.5\n", encoding="utf-8")
    (tmp_path / "data" / "predictions").rename(tmp_path / "elsewhere")
    result = run("tune", "train.toml")
    assert result.exit_code == 1
    assert "`csc predict train.toml -c validation`" in result.output
