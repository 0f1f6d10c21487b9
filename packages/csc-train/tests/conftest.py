"""A small data folder: balls of two classes in noise, annotated crops, and test crops with the same kind of content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

DATASET = "jrc_test-1"
RAW = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(64, 64, 64))
CLASSES = ("mito", "ld")


@dataclass(frozen=True)
class DataFolder:
    config: Config
    raw: np.ndarray
    grid: Grid

    @property
    def root(self) -> Path:
        return self.config.root


@pytest.fixture(autouse=True)
def _one_thread():
    # The suite runs beside others on few cores; thread counts must not decide its speed.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    # Counts of the data folder, once for all tests; and never in the user's own cache.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> DataFolder:
    root = tmp_path_factory.mktemp("data")
    config = Config(data=str(root))
    rng = np.random.default_rng(0)
    z, y, x = np.indices(RAW.shape)
    labels = {name: np.zeros(RAW.shape, dtype=np.uint8) for name in CLASSES}
    raw = np.full(RAW.shape, 170.0)
    for number in range(40):
        name, grey = (CLASSES[0], 90.0) if number % 2 else (CLASSES[1], 230.0)
        centre, radius = rng.integers(0, 64, 3), rng.integers(4, 8)
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
        for other in CLASSES:
            labels[other][ball] = other == name
        raw[ball] = grey
    raw = np.clip(raw + rng.normal(0, 12, RAW.shape), 0, 255).astype(np.uint8)
    write_multiscale(config.path("raw", dataset=DATASET), [raw], [RAW], chunks=(32, 32, 32))
    rows = []
    for number, begin in enumerate([(0, 0, 0), (32, 0, 0), (0, 32, 32)], start=1):
        box = tuple(slice(b, b + 32) for b in begin)
        folder = config.path("labels", dataset=DATASET, crop=f"crop{number}", class_name="x").parent
        for name in CLASSES:
            data = labels[name][box]
            write_multiscale(folder / name, [data], [RAW.window(begin, data.shape)], chunks=(32, 32, 32))
        raw_path = str(config.path("raw", dataset=DATASET))
        usage = "validate" if number == 3 else "train"
        rows.append(SplitRow(usage=usage, raw=raw_path, labels=str(folder), classes=CLASSES))
    write_datasplit(config.path("datasplit"), rows)
    tests = []
    for number, begin, shape in [(901, (32, 32, 0), (32, 32, 30)), (902, (33, 32, 34), (21, 24, 28))]:
        grid = RAW.window(begin, shape)
        tests.append(
            TestCrop(
                id=number,
                dataset=DATASET,
                voxel_size=grid.voxel_size,
                translation=grid.translation,
                shape=grid.shape,
                classes=CLASSES,
            )
        )
    write_test_crops(root / FILE_NAME, tests)
    return DataFolder(config=config, raw=raw, grid=RAW)
