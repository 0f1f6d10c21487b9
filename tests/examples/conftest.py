"""Data as small as examples can be tried on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from csc_data import SplitRow, write_datasplit
from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale

DATASET = "jrc_cos7-1a"  # which a recipe asks for


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the examples."""
    return Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Return a data folder with two crops of 192 nm at 4 nm."""
    config = Config(data=str(tmp_path_factory.mktemp("data")))
    rng = np.random.default_rng(0)
    raw = Grid(voxel_size=(4, 4, 4), translation=(0.0, 0.0, 0.0), shape=(96, 48, 48))
    write_multiscale(config.path("raw", dataset=DATASET), [rng.integers(0, 255, raw.shape, np.uint8)], [raw])
    for number, begin in enumerate([(0, 0, 0), (48, 0, 0)], start=1):
        box = raw.window(begin, (48, 48, 48))
        for name in ("nuc", "mito"):
            labels = rng.integers(0, 2, box.shape, np.uint8)
            place = config.path("labels", dataset=DATASET, crop=f"crop{number}", class_name=name)
            write_multiscale(place, [labels], [box])
    return config


@pytest.fixture
def split(small_data, tmp_path) -> Path:
    """Return the datasplit of the crops: one trains, one validates."""
    raw = str(small_data.path("raw", dataset=DATASET))
    rows = [
        SplitRow(
            usage=usage,
            raw=raw,
            labels=str(small_data.path("labels", dataset=DATASET, crop=crop, class_name="")),
            classes=("nuc", "mito"),
        )
        for usage, crop in (("train", "crop1"), ("validate", "crop2"))
    ]
    write_datasplit(tmp_path / "datasplit.csv", rows)
    return tmp_path / "datasplit.csv"


@pytest.fixture
def submittable(small_data, tmp_path):
    """Return a copy of the data folder, with a test crop and its truth."""
    config = replace(small_data, data=str(tmp_path / "data"))
    # Other tests may have predicted there.
    shutil.copytree(small_data.root, config.root, ignore=shutil.ignore_patterns("predictions", "processed"))
    place = {"voxel_size": (4, 4, 4), "translation": (40, 60, 20), "shape": (20, 20, 20)}
    crop = TestCrop(id=9, dataset=DATASET, classes=("mito", "nuc"), **place)
    write_test_crops(config.root / FILE_NAME, [crop])
    for name in crop.classes:
        truth = config.path("ground_truth") / "crop9" / name
        create_array(truth, shape=crop.shape, dtype="u1", chunks=crop.shape, attributes=place)[...] = 1
    return config
