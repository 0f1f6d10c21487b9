from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale

Array = np.ndarray[Any, Any]
Triple = tuple[float, float, float]
UNKNOWN = {"cellmap": {"annotation": {"annotation_type": {"encoding": {"absent": 0, "unknown": 255}}}}}


@dataclass
class World:
    """Validation crops of data set x, with annotations; they are test crops, too, so that they can be packed."""

    config: Config
    rows: list[SplitRow] = field(default_factory=list)
    tested: list[TestCrop] = field(default_factory=list)

    def annotate(
        self,
        number: int,
        labels: dict[str, Array],
        *,
        voxel_size: Triple = (8.0, 8.0, 8.0),
        translation: Triple = (104.0, 204.0, 304.0),
        usage: str = "validate",
    ) -> None:
        crop = f"crop{number}"
        for name, values in labels.items():
            grid = Grid(voxel_size=voxel_size, translation=translation, shape=values.shape)
            folder = self.config.path("labels", dataset="x", crop=crop, class_name=name)
            attributes = UNKNOWN if (values == 255).any() else None
            write_multiscale(folder, [values], [grid], chunks=(16, 16, 16), attributes=attributes)
        group = self.config.path("labels", dataset="x", crop=crop, class_name="class").parent
        raw = self.config.path("raw", dataset="x")
        self.rows.append(SplitRow(usage=usage, raw=str(raw), labels=str(group), classes=tuple(labels)))
        if usage == "validate":
            self.tested.append(
                TestCrop(
                    id=number,
                    dataset="x",
                    voxel_size=voxel_size,
                    translation=translation,
                    shape=next(iter(labels.values())).shape,
                    classes=tuple(labels),
                )
            )
        write_datasplit(self.config.path("datasplit"), self.rows)
        write_test_crops(self.config.root / "test_crop_manifest.csv", self.tested)


@pytest.fixture
def world(config: Config) -> World:
    config.root.mkdir(parents=True)
    return World(config)


def noisy_truth(truth: Array, seed: int, sigma: float = 1.0, noise: float = 0.6) -> Array:
    """Return what an unsure network would say: uint8 probabilities that lean towards a mask, and are too low."""
    generator = np.random.default_rng(seed)
    values = ndimage.gaussian_filter((truth > 0) - 0.7 + noise * generator.standard_normal(truth.shape), sigma)
    return np.rint(255 / (1 + np.exp(-4 * values))).astype(np.uint8)


@pytest.fixture
def network() -> Callable[..., Array]:
    return noisy_truth
