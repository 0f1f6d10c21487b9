from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import Kind, StoredValues

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

VOXEL_SIZE = (8.0, 8.0, 8.0)
TRANSLATION = (104.0, 204.0, 304.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=str(tmp_path / "data"))


@pytest.fixture
def write_prediction(config: Config) -> Callable[..., Path]:
    """Write a prediction (or, by ``template``, a processed array) of data set x and return its folder."""

    def write(
        data: np.ndarray[Any, Any],
        class_name: str = "mito",
        *,
        crop: str = "crop7",
        kind: Kind | None = None,
        one: float = 1.0,
        template: str = "predictions",
        voxel_size: tuple[float, float, float] = VOXEL_SIZE,
        translation: tuple[float, float, float] = TRANSLATION,
    ) -> Path:
        folder = config.path(template, dataset="x", crop=crop, class_name=class_name)
        write_multiscale(
            folder,
            [data],
            [Grid(voxel_size=voxel_size, translation=translation, shape=data.shape)],
            chunks=(16, 16, 16),
            attributes=StoredValues(kind=kind, one=one).to_attributes() if kind else None,
        )
        return folder

    return write


@pytest.fixture
def write_test_crop(config: Config) -> Callable[..., TestCrop]:
    """Write the manifest of a data folder with one test crop, crop7 of data set x."""

    def write(
        shape: tuple[int, int, int],
        classes: tuple[str, ...] = ("mito",),
        *,
        voxel_size: tuple[float, float, float] = VOXEL_SIZE,
        translation: tuple[float, float, float] = TRANSLATION,
    ) -> TestCrop:
        crop = TestCrop(id=7, dataset="x", voxel_size=voxel_size, translation=translation, shape=shape, classes=classes)
        config.root.mkdir(parents=True, exist_ok=True)
        write_test_crops(config.root / "test_crop_manifest.csv", [crop])
        return crop

    return write


def blobs(shape: tuple[int, int, int], seed: int = 0, sigma: float = 2.0) -> np.ndarray[Any, Any]:
    """Return smooth random values from 0 to 1: objects of all sizes when cut at one half."""
    from scipy import ndimage

    values = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return (values - values.min()) / (values.max() - values.min())


@pytest.fixture
def make_blobs() -> Callable[..., np.ndarray[Any, Any]]:
    return blobs
