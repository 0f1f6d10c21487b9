"""How much a prediction depends on where its windows lie."""

import numpy as np
import torch
from torch import nn

from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.volumes import Level, Volume
from csc_train.prediction.blocks import BlockJob
from csc_train.prediction.predictor import Predictor
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.stability import measure_stability
from csc_train.prediction.window.tiling import plan_windows
from csc_train.settings import PredictSettings

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(40, 24, 40))
RAW = Volume(
    path="raw",
    levels=(Level(name="s0", grid=GRID, array=np.random.default_rng(0).integers(0, 256, GRID.shape).astype(np.uint8)),),
    attributes={},
)


def job_of(network, patch=(8, 8, 8), classes=("mito", "ld")):
    info = ArrayInfo(shape=patch, scale=(8, 8, 8))
    shape = PatchShape(input=info, target=info)
    predictor = Predictor(
        networks=(network,), checkpoint=None, identity="", classes=classes, patch=shape, raw_range=(-1.0, 1.0),
        settings=PredictSettings(device="cpu"),
    )  # fmt: skip
    return BlockJob(
        source=NetworkSource(given=predictor), name="crop7", raw=RAW, stored=GRID.bounds, windows=plan_windows(shape),
        grid=GRID, output=GRID, classes=classes,
    )  # fmt: skip


class Normalised(nn.Module):
    """The first class depends on the voxel alone, the second on all of its window."""

    def forward(self, x):
        return torch.cat([x, 5 * nn.functional.instance_norm(x) + x.mean()], dim=1)


def test_what_depends_on_the_window_is_told():
    found = measure_stability(job_of(Normalised()))
    assert found.classes == ("mito", "ld")
    assert found.voxels == (12, 12, 12)
    assert found.mean[0] == found.largest[0] == found.changed[0] == 0
    assert 0 < found.mean[1] < found.largest[1]
    assert found.changed[1] > 0


def test_planes():
    found = measure_stability(job_of(Normalised(), patch=(1, 8, 8)))
    assert found.largest[0] < 1e-6
    assert found.mean[1] > 0
