"""Objects from affinities: by blocks what mwatershed makes of the whole."""

from __future__ import annotations

import shutil
import sys

import mwatershed
import numpy as np
import pytest
from scipy import ndimage

from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingPackageError
from csc_data.formats.reading import open_array
from csc_data.volumes.affinities import affinity_name
from csc_submit import ProcessSettings, process, process_array, process_arrays
from csc_submit.steps.declared import MutexWatershed

VOXEL_SIZE = (8.0, 8.0, 8.0)
OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (4, 0, 0), (0, 5, 0), (0, -3, 5))
STEP = {"name": "mutex_watershed", "offsets": OFFSETS, "margin_nm": 160.0}


def affinities(ids: np.ndarray, seed: int = 0, noise: float = 0.1) -> dict[str, np.ndarray]:
    """Return noisy affinities of objects that touch each other, right on average."""
    random = np.random.default_rng(seed)
    found = {}
    for offset in OFFSETS:
        partner = np.roll(ids, [-n for n in offset], (0, 1, 2))
        noisy = 0.15 + 0.7 * ((ids == partner) & (ids > 0)) + random.normal(0, noise, ids.shape)
        found[affinity_name("mito", offset)] = np.clip(noisy, 0, 1).astype("f4")
    return found


def cells(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return objects that touch, and some background."""
    random = np.random.default_rng(seed)
    points = random.random((12, 3)) * shape
    distance = [np.linalg.norm(np.stack(np.indices(shape), -1) - point, axis=-1) for point in points]
    ids = np.argmin(distance, 0) + 1
    return np.where(ndimage.gaussian_filter(random.random(shape), 2) > 0.47, ids, 0)


def whole(mask: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
    """Do it by loops and the library, on all at once."""
    weights = np.zeros((len(OFFSETS), *mask.shape))
    for weight, offset in zip(weights, OFFSETS, strict=True):
        for place in np.argwhere(mask):
            partner = place + offset
            if (partner >= 0).all() and (partner < mask.shape).all() and mask[tuple(partner)]:
                weight[tuple(place)] = given[affinity_name("mito", offset)][tuple(place)] - 0.5
    return mwatershed.agglom(weights, OFFSETS)


def same_up_to_names(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).shape[1]
    return pairs == len(np.unique(one)) == len(np.unique(other))


@pytest.fixture
def run(config, write_prediction):
    """Process predictions in blocks, and return the result of mito."""

    def run_blocks(given, block_shape, steps=("threshold", STEP)):
        for name, values in given.items():
            write_prediction(values, name, kind="probability")
        settings = ProcessSettings(steps=steps, block_shape=block_shape)
        (row,) = process(settings, config=config, existing="overwrite").rows
        assert row.status == "done", row.reason
        array = open_array(config.path("processed", dataset="x", crop="crop7", class_name="mito") / "s0")
        assert row.instances == array[...].max()
        return np.asarray(array[...])

    return run_blocks


def test_on_the_whole_it_is_what_its_library_does(run):
    for seed in range(5):
        ids = cells((9, 12, 14), seed)
        given = affinities(ids, seed)
        expected = whole(ids > 0, given)
        values = {"mito": (ids > 0).astype("f4"), **given}
        settings = ProcessSettings(steps=["threshold", STEP])
        found = process_arrays(values, settings, voxel_size=VOXEL_SIZE)
        assert list(found) == ["mito"]
        assert same_up_to_names(found["mito"], expected), seed
    np.testing.assert_array_equal(run(values, (9, 12, 14)), found["mito"])


@pytest.mark.parametrize("block_shape", [(16, 16, 16), (40, 13, 11)])
def test_blocks_agree_where_their_margin_is_enough(run, block_shape):
    ids = cells((32, 36, 40), 3)
    given = {"mito": (ids > 0).astype("f4"), **affinities(ids)}
    at_once = process_arrays(given, ProcessSettings(steps=["threshold", STEP]), voxel_size=VOXEL_SIZE)["mito"]
    found = run(given, block_shape)
    assert len(np.unique(at_once)) > 12
    assert same_up_to_names(found, at_once)
    np.testing.assert_array_equal(found, at_once)  # also the numbers, which are by first voxels


def variation_of_information(one: np.ndarray, other: np.ndarray) -> float:
    """Return by how many bits two divisions of a volume differ (Meila 2007)."""

    def entropy(labels):
        share = np.unique(labels, axis=-1, return_counts=True)[1] / one.size
        return -(share * np.log2(share)).sum()

    return 2 * entropy(np.stack([one.ravel(), other.ravel()])) - entropy(one.ravel()) - entropy(other.ravel())


@pytest.mark.parametrize("seed", range(2))
def test_where_blocks_see_it_differently_objects_do_not_run_together(run, seed):
    ids = cells((30, 30, 30), seed)
    given = {"mito": (ids > 0).astype("f4"), **affinities(ids, seed, noise=0.32)}
    at_once = process_arrays(given, ProcessSettings(steps=["threshold", STEP]), voxel_size=VOXEL_SIZE)["mito"]
    blocks = run(given, (15, 15, 15), ["threshold", {**STEP, "margin_nm": 32.0}])
    assert not same_up_to_names(blocks, at_once)
    assert variation_of_information(blocks, at_once) < 1.5


def test_objects_that_are_larger_than_a_block_and_its_margin_stay_whole(run):
    ids = np.repeat(np.arange(1, 4), 8)[:, None, None] * np.ones((1, 8, 60), int)
    given = {"mito": np.ones(ids.shape, "f4"), **affinities(ids)}
    found = run(given, (24, 8, 9), ["threshold", {**STEP, "margin_nm": 40.0}])
    assert same_up_to_names(found, ids)


def test_what_follows_filters_whole_objects(run):
    ids = np.repeat([1, 2, 3], [8, 2, 8])[:, None, None] * np.ones((1, 8, 30), int)
    given = {"mito": np.ones(ids.shape, "f4"), **affinities(ids)}
    steps = ["threshold", STEP, {"name": "remove_small", "voxels": 1000}]
    found = run(given, (18, 8, 7), steps)
    assert same_up_to_names(found, np.where(ids == 2, 0, ids))


def test_what_is_missing_is_named(config, write_prediction, monkeypatch):
    ids = cells((6, 7, 8), 1)
    given = affinities(ids)
    write_prediction(next(iter(given.values())), next(iter(given)), kind="probability")
    settings = ProcessSettings(steps=["threshold", {"name": "mutex_watershed"}])
    (row,) = process(settings, config=config).rows
    assert (row.class_name, row.status) == ("mito", "missing")
    assert "no prediction of itself" in row.reason
    write_prediction((ids > 0).astype("f4"), kind="probability")
    (row,) = process(settings, config=config).rows
    assert (row.class_name, row.status) == ("mito", "failed")
    assert "read mito_affinity_0_-1_0, which was not predicted" in row.reason
    with pytest.raises(InvalidArgumentError, match="need the predictions mito_affinity_-1_0_0"):
        process_array((ids > 0).astype("f4"), "mito", settings, voxel_size=VOXEL_SIZE)
    monkeypatch.setitem(sys.modules, "mwatershed", None)
    values = {"mito": (ids > 0).astype("f4"), **given}
    with pytest.raises(MissingPackageError, match=r"csc-submit\[mutex\]"):
        process_arrays(values, settings, voxel_size=VOXEL_SIZE)


def test_what_lies_beside_a_class_is_not_one(config, write_prediction):
    for name in ("mito", "mito_distance", "mito_boundary", "mito_of_rough", *MutexWatershed().channels("mito")):
        write_prediction(np.ones((6, 7, 8), "f4"), name, kind="probability")
    rows = process(ProcessSettings(), config=config).rows
    assert [(row.class_name, row.status) for row in rows] == [("mito", "done")]
    values = {"mito_distance": np.ones((6, 7, 8)), "mito": np.ones((6, 7, 8))}
    assert list(process_arrays(values, ProcessSettings(), voxel_size=VOXEL_SIZE)) == ["mito"]


def test_affinities_lie_on_the_grid_of_their_class(config, write_prediction):
    ids = cells((6, 7, 8), 1)
    write_prediction((ids > 0).astype("f4"), kind="probability")
    for offset in MutexWatershed().offsets:
        write_prediction(np.zeros((6, 7, 9), "f4"), affinity_name("mito", offset), kind="probability")
    (row,) = process(ProcessSettings(steps=["threshold", "mutex_watershed"]), config=config).failed
    assert "on its grid" in row.reason


def test_a_result_depends_on_the_affinities(config, write_prediction, run):
    ids = cells((6, 7, 8), 1)
    given = {"mito": (ids > 0).astype("f4"), **affinities(ids)}
    run(given, (6, 7, 8))
    settings = ProcessSettings(steps=["threshold", STEP], block_shape=(6, 7, 8))
    assert process(settings, config=config).rows[0].status == "there"
    name = affinity_name("mito", OFFSETS[4])
    shutil.rmtree(config.path("predictions", dataset="x", crop="crop7", class_name=name))
    write_prediction(given[name] * 0.5, name, kind="probability")
    with pytest.raises(ExistingOutputError, match=name):
        process(settings, config=config)
