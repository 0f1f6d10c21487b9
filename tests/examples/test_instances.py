"""Objects that touch: the recipe by distance and watershed against a threshold and connected components."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from csc_data.config.experiment import build_settings, read_experiment
from csc_eval import score_instances
from csc_submit import ProcessSettings, process_array

VOXEL_SIZE = (16.0, 16.0, 16.0)


@pytest.fixture(scope="module")
def touching_balls():
    """Fourteen balls that touch or overlap, by their ids."""
    benchmark = Path(__file__).parents[2] / "benchmarks" / "instances.py"
    return runpy.run_path(str(benchmark))["touching_balls"](seed=0)


def noisy_distance(ids, scale_nm):
    """Return what a network that is a little unsure says of the distance to the surface, as a probability."""
    ndimage = pytest.importorskip("scipy.ndimage")
    inside, outside = (ndimage.distance_transform_edt(mask, VOXEL_SIZE) - 8 for mask in (ids > 0, ids == 0))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, ids.shape), 1.5)
    return np.clip((1 + np.tanh(np.where(ids > 0, inside, -outside) / scale_nm) + noise) / 2, 0, 1).astype("f4")


def test_watershed_beats_components_where_objects_touch(touching_balls, examples):
    pytest.importorskip("skimage")
    experiment = read_experiment(examples / "instances_watershed.py")
    recipe = build_settings(experiment, ProcessSettings)
    values = noisy_distance(touching_balls, experiment.names["targets"]["output"]["scale_nm"])
    scores = [
        score_instances(touching_balls, process_array(values, "mito", settings, voxel_size=VOXEL_SIZE), VOXEL_SIZE)
        for settings in (ProcessSettings(), recipe)
    ]
    semantic, divided = scores
    assert (semantic.tp, semantic.fn) == (1, 13)  # all are one object
    assert divided.tp >= 12
    assert divided.score > semantic.score + 0.5
