"""A folder of one data set whose test crops are scored in different classes, and a network that gives raw back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.volumes import Volume, open_volume, write_multiscale
from csc_train import TrainSettings

RAW_GRID = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(30, 34, 38))
CLASSES = ("mito", "ld", "er")
AS_IS = {"checkpoint": "untrained", "output": "logit", "output_dtype": "float32", "device": "cpu"}


class Multiples(nn.Module):
    """Gives its input once, twice and three times."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return torch.cat([x, 2 * x, 3 * x], dim=1) * self.weight


@dataclass
class World:
    """A data folder; crops are given by their first voxel of raw and their shape."""

    config: Config
    raw: np.ndarray
    crops: list[TestCrop] = field(default_factory=list)

    def add(self, number, begin, shape, classes, grid=None, dataset="a"):
        window = grid or RAW_GRID.window(begin, shape)
        self.crops.append(
            TestCrop(
                id=number, dataset=dataset, voxel_size=window.voxel_size, translation=window.translation,
                shape=window.shape, classes=classes,
            )
        )  # fmt: skip
        write_test_crops(self.config.root / FILE_NAME, self.crops)

    def annotate(self, crop, begin, shape, *classes):
        for name in classes:
            folder = self.config.path("labels", dataset="a", crop=crop, class_name=name)
            write_multiscale(folder, [np.ones(shape, "u1")], [RAW_GRID.window(begin, shape)], chunks=(16, 16, 16))

    def written(self, crop, dataset="a"):
        folder = self.config.path("predictions", dataset=dataset, crop=crop, class_name="x").parent
        return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())

    def read(self, crop, name="mito", dataset="a") -> Volume:
        return open_volume(self.config.path("predictions", dataset=dataset, crop=crop, class_name=name))

    def part(self, begin, shape):
        return self.raw[tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))].astype(np.float32)


@pytest.fixture
def world(tmp_path):
    config = Config(data=str(tmp_path))
    raw = np.random.default_rng(0).integers(0, 256, RAW_GRID.shape).astype(np.uint8)
    write_multiscale(config.path("raw", dataset="a"), [raw], [RAW_GRID], chunks=(16, 16, 16))
    made = World(config, raw)
    made.add(1, (2, 3, 4), (12, 12, 12), ("mito", "nuc"))
    made.add(2, (0, 0, 0), (9, 9, 9), ("ld", "mito"))
    return made


@pytest.fixture
def multiples():
    return TrainSettings(
        classes=CLASSES,
        model=Multiples(),
        input_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)},
        raw_range=(0.0, 255.0),
    )
