"""What a viewer is shown of a network is what `predict` writes, wherever and in whichever order somebody looks."""

import dataclasses
import random
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.blocks import BlockGrid
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.geometry import Grid
from csc_data.volumes import Level, Volume, open_volume, write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_train import TrainSettings, predict
from csc_train.prediction import LiveNetwork

CLASSES = ("mito", "er")
UNTRAINED = {"checkpoint": "untrained", "device": "cpu"}


class Placed(nn.Module):
    """Says of a voxel what depends on where it lies in the patch, and on what else lies in it."""

    def __init__(self, margin=0, finer=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.margin, self.finer = margin, finer

    def forward(self, x):
        axes = [torch.linspace(-1, number, n) for number, n in enumerate(x.shape[2:], start=1)]
        ramp = sum(torch.meshgrid(*axes, indexing="ij"))
        mean = x.flatten(start_dim=1).mean(dim=1).view(-1, *[1] * (x.ndim - 1))
        out = torch.cat([x - mean + ramp, x * ramp], dim=1) * self.weight
        if self.margin:
            m = self.margin
            out = out[:, :, m:-m, m:-m, m:-m]
        return out if self.finer == 1 else nn.functional.interpolate(out, scale_factor=self.finer)


def settings(network=None, shape=(8, 8, 8), target=None):
    return TrainSettings(
        classes=CLASSES,
        model=network or Placed(),
        input_array_info={"shape": shape, "scale": (8, 8, 8)},
        target_array_info=target,
        raw_range=(0.0, 1.0),
    )


NETWORKS = {
    "overlap": (lambda: settings(), {}),
    "halo": (lambda: settings(), {"halo": (2, 1, 2), "overlap": 0.0}),
    "more overlap": (lambda: settings(), {"overlap": 0.6, "tta": "mirror"}),
    "valid": (lambda: settings(Placed(margin=2), target={"shape": (4, 4, 4), "scale": (8, 8, 8)}), {}),
    "finer": (lambda: settings(Placed(finer=2), target={"shape": (16, 16, 16), "scale": (4, 4, 4)}), {}),
    "planes": (lambda: settings(shape=(1, 8, 8)), {}),
    "stack": (lambda: settings(shape=(1, 8, 8)), {"orthoplanes": False}),
    "logits": (lambda: settings(), {"output": "logit", "output_dtype": "float32"}),
    "masks": (lambda: settings(), {"output": "mask"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_those_of_predict(world, name):
    network, options = NETWORKS[name]
    experiment, options = network(), {**UNTRAINED, **options}
    grid = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(14, 15, 17))
    path = world.config.path("raw", dataset="b")
    write_multiscale(path, [world.raw[:14, :15, :17]], [grid], chunks=(8, 8, 8))
    predict(experiment, config=world.config, volume="b", **options)
    live = dataclasses.replace(LiveNetwork(experiment, **options).on(open_volume(path)), block_shape=(9, 8, 16))
    blocks = BlockGrid(shape=live.grid.shape, block_shape=live.block_shape)
    found = np.empty((2, *live.grid.shape), live.dtype)
    for block in random.Random(name).sample(list(blocks), len(blocks)):
        index = np.unravel_index(block.index, blocks.counts)
        found[:, *(slice(b, b + n) for b, n in zip(block.begin, block.shape, strict=True))] = live.compute(index)
    assert np.ptp(found[0]) > 0
    for values, class_name in zip(found, CLASSES, strict=True):
        written = world.read("whole", class_name, "b").levels[0]
        assert written.grid == live.grid
        np.testing.assert_array_equal(values, written.array[...], err_msg=class_name)


def test_blocks_are_whole_steps_of_the_windows(world):
    raw = open_volume(world.config.path("raw", dataset="a"))
    assert LiveNetwork(settings(), **UNTRAINED).on(raw).block_shape == (60, 60, 60)
    assert LiveNetwork(settings(shape=(128, 64, 256)), **UNTRAINED).on(raw).block_shape == (96, 48, 128)


def test_only_what_is_asked_for_is_computed_and_it_says_what_it_means(world):
    raw = open_volume(world.config.path("raw", dataset="a"))
    network = LiveNetwork(settings(), **UNTRAINED)
    assert (network.arrays, network.meanings["er"]) == (CLASSES, StoredValues(kind="probability", one=255))
    assert network.on(raw).names == CLASSES
    assert network.on(raw, ["er"]).compute((0, 0, 0)).shape == (1, 30, 34, 38)
    assert LiveNetwork(settings(), classes_to_write=["er"], **UNTRAINED).on(raw).names == ("er",)
    with pytest.raises(InvalidArgumentError, match="did you mean mito"):
        network.on(raw, ["mitto"])


def test_where_raw_was_not_fetched_nothing_is_computed_and_beside_it_raw_is_mirrored(world):
    """As around a crop whose surroundings were not fetched."""
    path = world.config.path("raw", dataset="a")
    shutil.rmtree(path / "s0/1")  # from voxel 16 of 30 on
    network = LiveNetwork(settings(), **UNTRAINED)
    live = dataclasses.replace(network.on(open_volume(path)), block_shape=(16, 34, 38))
    assert not live.compute((1, 0, 0)).any()
    mirrored = dataclasses.replace(live, job=dataclasses.replace(live.job, raw=_mirrored(world)))
    np.testing.assert_array_equal(live.compute((0, 0, 0)), mirrored.compute((0, 0, 0)))


def _mirrored(world):
    raw = open_volume(world.config.path("raw", dataset="a"))
    values = world.raw.copy()
    values[16:30] = values[2:16][::-1]
    level = Level(name="s0", grid=raw.levels[0].grid, array=values)
    return Volume(path="mirrored", levels=(level,), attributes={})


def test_a_chunk_that_cannot_be_read_is_an_error_with_its_path(world):
    path = world.config.path("raw", dataset="a")
    (path / "s0/0/0/0").write_bytes(b"nonsense")
    with pytest.raises(UnreadableDataError, match="s0"):
        LiveNetwork(settings(), **UNTRAINED).on(open_volume(path)).compute((0, 0, 0))
