"""What tuning begins with: sizes that suit each of the crops that train, on made-up truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from csc_data.config.experiment import Experiment
from csc_data.fingerprint.objects import measure_objects
from csc_data.geometry import Grid
from csc_data.volumes import write_multiscale
from csc_submit import ProcessSettings
from csc_submit.tuning.starting import starting_settings

VOXEL_SIZE = (8.0, 8.0, 8.0)
FACES = ndimage.generate_binary_structure(3, 1)


def spheres(random, shape, diameters_nm, distance_nm):
    """Return numbered balls at random places, some of them cut by the border, and a crumb."""
    labels = np.zeros(shape, np.uint8)
    taken = np.zeros((0, 3))
    for number, diameter in enumerate(diameters_nm, start=1):
        for _ in range(500):
            centre = random.uniform(0, shape)
            if not len(taken) or np.linalg.norm(taken - centre, axis=1).min() > distance_nm / 8:
                break
        taken = np.vstack([taken, centre])
        grid = np.indices(shape).reshape(3, -1).T - centre
        labels.reshape(-1)[np.linalg.norm(grid, axis=1) <= diameter / 16] = number
    labels[0, 0, :2] = 200
    return labels


@pytest.fixture
def start(world):
    """Return the truths of two crops that train, and the settings that tuning begins with."""

    def make(seed, small_nm, large_nm):
        random = np.random.default_rng(seed)
        large = spheres(random, (48, 48, 48), random.normal(large_nm, 8, 40), large_nm + 16)
        small = spheres(random, (32, 32, 32), random.normal(small_nm, 3, 14), small_nm + 24)
        for number, labels in enumerate((large, small)):
            world.annotate(number, {"ves": labels}, usage="train", translation=(104.0, 204.0, 304.0 + 1000 * number))
        raw = np.zeros((80, 90, 260), np.uint8)
        grid = Grid(voxel_size=VOXEL_SIZE, translation=(0.0, 0.0, 0.0), shape=raw.shape)
        write_multiscale(world.config.path("raw", dataset="x"), [raw], [grid], chunks=(64, 64, 64))
        source = Experiment(path=world.config.root / "x.toml", names={}, exact=True)
        return (large, small), starting_settings(source, ProcessSettings(), world.rows, ("ves",))[0]

    return make


@pytest.mark.parametrize("seed", range(3))
def test_nine_of_ten_true_objects_stay_in_each_crop_where_a_network_misses_their_outermost_voxels(start, seed):
    truths, settings = start(seed, 48.0, 96.0)
    least = settings.for_class("ves").min_size_nm3
    assert least >= 10 * 8**3  # specks go
    for truth in truths:
        whole = ~measure_objects(truth, VOXEL_SIZE).is_cut & (np.bincount(truth.ravel())[np.unique(truth)[1:]] >= 8)
        core = (ndimage.minimum_filter(truth, footprint=FACES, mode="nearest") == truth) & (truth > 0)
        found = np.bincount(np.where(core, truth, 0).ravel(), minlength=256)[np.unique(truth)[1:]] * 8**3
        assert np.mean(found[whole] >= least) >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_objects_of_a_few_voxels_are_not_removed_at_all(start, seed):
    _, settings = start(seed, 26.0, 60.0)
    assert settings.for_class("ves").min_size_nm3 == 0
