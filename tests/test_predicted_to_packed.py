"""From raw to a submission by a network that gives raw back: each voxel of a test crop is what raw has there."""

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.volumes import open_volume, write_multiscale
from csc_submit import ProcessSettings, pack_results, process
from csc_train import TrainSettings, predict

RAW = Grid(voxel_size=(8, 8, 8), translation=(100, 204, 308), shape=(30, 34, 38))
ALIGNED = RAW.window((3, 4, 5), (12, 13, 14))
HALF_OFF = Grid(voxel_size=(8, 8, 8), translation=(128, 232, 344), shape=(12, 13, 14))
CLASSES = ("er_mem", "mito_mem")
COARSE = Grid(voxel_size=(16, 16, 16), translation=(120, 224, 344), shape=(5, 6, 7))


class GivesRawBack(nn.Module):
    """Gives its input, from 0 to 1, as the probability of the first class, and one minus it as that of the second."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        logit = torch.logit(x.clamp(1e-4, 1 - 1e-4)) * self.weight
        return torch.cat([logit, -logit], dim=1)


@pytest.fixture(scope="module")
def raw():
    return np.random.default_rng(0).integers(0, 256, RAW.shape).astype(np.uint8)


def corners(raw, grid):
    """Return the eight voxels of raw around each voxel of a grid that lies half a voxel off."""
    begin = [round((t - r) / 8 - 0.5) for t, r in zip(grid.translation, RAW.translation, strict=True)]
    return [
        raw[tuple(slice(b + d, b + d + n) for b, d, n in zip(begin, shift, grid.shape, strict=True))].astype(float)
        for shift in np.ndindex(2, 2, 2)
    ]


def blocks_of_two(raw, grid):
    begin = [round((b - r) / 8) for b, r in zip(grid.bounds.begin, RAW.bounds.begin, strict=True)]
    part = raw[tuple(slice(b, b + 2 * n) for b, n in zip(begin, grid.shape, strict=True))].astype(float)
    z, y, x = grid.shape
    return part.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))


@pytest.mark.parametrize(
    ("grid", "output_grid"), [(ALIGNED, "target"), (HALF_OFF, "target"), (HALF_OFF, "crop"), (COARSE, "crop")]
)
def test_what_is_packed_is_what_raw_has_there(tmp_path, raw, grid, output_grid):
    config = Config(data=str(tmp_path))
    write_multiscale(config.path("raw", dataset="a"), [raw], [RAW], chunks=(16, 16, 16))
    place = {"voxel_size": grid.voxel_size, "translation": grid.translation, "shape": grid.shape}
    crop = TestCrop(id=7, dataset="a", classes=CLASSES, **place)
    write_test_crops(config.root / FILE_NAME, [crop])
    settings = TrainSettings(
        classes=CLASSES,
        model=GivesRawBack(),
        input_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)},
    )
    predict(
        settings, config=config, checkpoint="untrained", device="cpu", output_grid=output_grid, output_dtype="float32"
    )
    if grid is ALIGNED:
        expected = raw[3:15, 4:17, 5:19] / 255
    elif grid is HALF_OFF:
        expected = np.mean(corners(raw, grid), axis=0) / 255
    else:
        expected = blocks_of_two(raw, grid) / 255
    clear = np.abs(expected - 0.5) > 0.004
    pack_results(config=config, source="predictions", as_probabilities="threshold", zip=False)
    process(ProcessSettings(), config=config)
    processed = pack_results(config=config, destination=tmp_path / "other.zarr", zip=False)
    assert [row.status for row in processed.rows] == ["packed"] * 2
    for name, share in zip(CLASSES, (expected, 1 - expected), strict=True):
        packed = open_volume(config.path("submission") / "crop7" / name).levels[0]
        assert packed.grid == grid
        np.testing.assert_array_equal(packed.array[...][clear] > 0, (share > 0.5)[clear])
        if grid is not HALF_OFF or output_grid == "crop":
            by_process = open_volume(tmp_path / "other.zarr" / "crop7" / name).levels[0].array[...]
            np.testing.assert_array_equal(by_process[clear] > 0, (share > 0.5)[clear])
