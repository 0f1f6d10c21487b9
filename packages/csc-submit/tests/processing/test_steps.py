"""Each step, block by block, is what its library does to the whole volume."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from csc_data.challenge import get_class_relations
from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_data.volumes import open_volume
from csc_submit import ProcessSettings, process, process_array, process_arrays
from csc_submit.processing.local.filters import close_mask, distance_nm, open_mask

VOXEL_SIZE = (8.0, 8.0, 8.0)


@pytest.fixture
def run(config, write_prediction):
    """Process predictions by name with steps, in blocks of a shape, and return the results by name."""

    def run_steps(predictions, steps, block_shape, **settings):
        for name, values in predictions.items():
            write_prediction(values.astype("f4"), name, kind="probability")
        made = ProcessSettings(steps=steps, block_shape=block_shape, **settings)
        result = process(made, config=config, existing="overwrite")
        assert not result.failed, result.failed
        return {
            name: np.asarray(
                open_volume(config.path("processed", dataset="x", crop="crop7", class_name=name)).levels[0].array[...]
            )
            for name in predictions
        }

    return run_steps


def ball(radius: float) -> np.ndarray:
    z, y, x = np.mgrid[-6:7, -6:7, -6:7]
    return 64 * (z**2 + y**2 + x**2) <= radius**2


def components(mask):
    return cc3d.connected_components(mask.view(np.uint8), connectivity=26)


def largest(mask, count):
    labels = components(mask)
    sizes = np.bincount(labels.ravel())[1:]
    first = [np.flatnonzero(labels == n)[0] for n in range(1, len(sizes) + 1)]
    order = sorted(range(len(sizes)), key=lambda n: (-sizes[n], first[n]))
    return np.isin(labels, np.array(order[:count], int) + 1)


def without_small(mask, least):
    """As scikit-image's remove_small_objects, whose arguments differ between its versions."""
    labels = components(mask)
    sizes = np.bincount(labels.ravel())
    return mask & (sizes[labels] >= least)


def without_large(mask, most):
    labels = components(mask)
    sizes = np.bincount(labels.ravel())
    return mask & (sizes[labels] <= most)


WHOLE = {
    "opening": ({"radius_nm": 9.0}, lambda m: open_whole(m, 9.0)),
    "closing": ({"radius_nm": 9.0}, lambda m: close_whole(m, 9.0)),
    "fill_holes": ({}, lambda m: ndimage.binary_fill_holes(m)),
    "remove_small": ({"voxels": 20}, lambda m: without_small(m, 20)),
    "remove_large": ({"nm3": 30 * 8.0**3}, lambda m: without_large(m, 30)),
    "size_filter": (
        {"min_nm3": 10 * 8.0**3, "max_nm3": 60 * 8.0**3},
        lambda m: without_small(without_large(m, 60), 10),
    ),
    "largest_component": ({"count": 2}, lambda m: largest(m, 2)),
}


def open_whole(mask, radius):
    return ndimage.binary_dilation(ndimage.binary_erosion(mask, ball(radius), border_value=1), ball(radius))


def close_whole(mask, radius):
    return ndimage.binary_erosion(ndimage.binary_dilation(mask, ball(radius)), ball(radius), border_value=1)


@pytest.mark.parametrize("name", WHOLE)
def test_on_the_whole_a_step_is_what_its_library_does(name):
    parameters, whole = WHOLE[name]
    for seed in range(30):
        values = random_values(seed, (9, 11, 12))
        settings = ProcessSettings(steps=["threshold", {"name": name, **parameters}])
        found = process_array(values, "er", settings, voxel_size=VOXEL_SIZE)
        np.testing.assert_array_equal(found, whole(values > 0.5), err_msg=f"seed {seed}")


def random_values(seed, shape):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.0)
    return ((values - values.min()) / np.ptp(values)).astype("f4")


@pytest.mark.parametrize("name", WHOLE)
def test_blocks_do_not_show(run, name):
    parameters, whole = WHOLE[name]
    values = random_values(3, (19, 22, 25))
    steps = ["threshold", {"name": name, **parameters}]
    found = run({"er": values}, steps, (6, 25, 7))["er"]
    np.testing.assert_array_equal(found, whole(values > 0.5))
    assert 0 < found.sum() < found.size


def test_steps_come_in_any_order_and_number(run):
    values = random_values(5, (18, 20, 21))
    steps = [
        {"name": "smoothing", "sigma_nm": 6.0},
        {"name": "threshold", "level": 0.45},
        {"name": "remove_small", "voxels": 12},
        {"name": "closing", "radius_nm": 9.0},
        "fill_holes",
        {"name": "opening", "radius_nm": 8.0},
        "largest_component",
    ]
    found = run({"mito": values}, steps, (5, 9, 21))["mito"]
    mask = ndimage.gaussian_filter(values, 6 / 8, mode="nearest", truncate=3.0) > 0.45
    mask = close_whole(without_small(mask, 12), 9.0)
    mask = largest(open_whole(ndimage.binary_fill_holes(mask), 8.0), 1)
    np.testing.assert_array_equal(found, mask)
    whole = process_array(values, "mito", ProcessSettings(steps=steps), voxel_size=VOXEL_SIZE)
    np.testing.assert_array_equal(found, whole)


def same_up_to_names(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


def beads(shape=(20, 20, 60)):
    """Balls that touch in pairs, their middles, and what lies between them, as probabilities."""
    z, y, x = np.indices(shape)
    depth = np.min([(z - 10) ** 2 + (y - 10) ** 2 + (x - c) ** 2 for c in (8, 17, 31, 40, 52)], axis=0)
    return (depth <= 25) * 0.9, (depth <= 4) * 0.9, (np.isin(x, (12, 13, 35, 36)) & (depth <= 25)) * 0.9


@pytest.mark.parametrize("on", ["distance", "probability", "mito_mem"])
@pytest.mark.parametrize("seeds", ["distance", "mito_lum"])
def test_a_watershed_in_blocks_is_that_of_the_whole_within_its_margin(run, on, seeds):
    mito, lumen, border = beads()
    names = {"mito": mito * (1 - 0.3 * (border > 0)), "mito_lum": lumen, "mito_mem": border}
    split = {"name": "watershed", "seeds": seeds, "seed_distance_nm": 28.0, "on": on, "margin_nm": 176.0}
    steps = {"mito": ["threshold", split]}
    found = run(names, steps, (20, 11, 13))
    mask, inner = mito > 0.5, (mito > 0.5) & ((border < 0.5) if on == "mito_mem" else True)
    markers = (lumen > 0.5) if seeds == "mito_lum" else distance_nm(inner, VOXEL_SIZE) >= 28
    depth = names["mito"].astype("f4") if on == "probability" else distance_nm(inner, VOXEL_SIZE)
    whole = watershed(-depth, markers=components(markers), mask=mask, connectivity=3)
    assert len(np.unique(whole)) == 6
    same_up_to_names(found["mito"], whole)
    arrays = {name: values.astype("f4") for name, values in names.items()}
    alone = process_arrays(arrays, ProcessSettings(steps=steps), voxel_size=VOXEL_SIZE)
    np.testing.assert_array_equal(found["mito"], alone["mito"])


def test_an_object_without_seed_stays_one(run):
    mito, lumen, _ = beads()
    lumen[..., 45:] = 0
    steps = {"mito": ["threshold", {"name": "watershed", "seeds": "mito_lum"}]}
    found = run({"mito": mito, "mito_lum": lumen}, steps, (20, 20, 16))["mito"]
    assert found.max() == 5
    np.testing.assert_array_equal(found > 0, mito > 0.5)


NAMES = ("mito_mem", "mito_lum", "mito", "er_mem", "er_lum", "er")


def test_a_hierarchy_holds_whatever_was_predicted(run):
    random = {name: random_values(seed, (14, 15, 16)) for seed, name in enumerate(NAMES)}
    steps = [{"name": "threshold", "level": 0.4}, "hierarchy"]
    found = run(random, steps, (14, 8, 5), instance_classes=())
    for name, excluded in get_class_relations(NAMES).items():
        for other in excluded:
            assert not (found[name] & found[other]).any(), (name, other)
    for whole, parts in {"mito": ("mito_mem", "mito_lum"), "er": ("er_mem", "er_lum")}.items():
        for part in parts:
            assert not (found[part] > found[whole]).any()
    assert all(found[name].any() for name in NAMES)
    np.testing.assert_array_equal(found["mito_mem"], random["mito_mem"] > 0.4)  # the first of all keeps what it has


def test_inside_outside_and_union_say_it_outright(run):
    random = {name: random_values(seed, (9, 10, 11)) for seed, name in enumerate(("er", "nuc", "pm"))}
    steps = {
        "er": ["threshold", {"name": "inside", "of": ["nuc"]}, {"name": "union", "of": ["pm"]}],
        "nuc": ["threshold", {"name": "outside", "of": ["pm"]}],
    }
    found = run(random, steps, (4, 10, 11), instance_classes=())
    er, nuc, pm = (random[name] > 0.5 for name in ("er", "nuc", "pm"))
    np.testing.assert_array_equal(found["er"], (er & nuc & ~pm) | pm)


def test_classes_that_are_missing_or_wait_for_each_other_fail_with_a_reason(config, write_prediction):
    for name in ("er", "nuc"):
        write_prediction(random_values(1, (5, 5, 5)), name, kind="probability")
    missing = ProcessSettings(steps={"er": ["threshold", {"name": "inside", "of": ["pm"]}]})
    (row,) = process(missing, config=config).failed
    assert (row.class_name, "need pm" in row.reason) == ("er", True)
    steps = {"er": ["threshold", {"name": "inside", "of": ["nuc"]}]}
    steps["nuc"] = ["threshold", {"name": "inside", "of": ["er"]}]
    failed = process(ProcessSettings(steps=steps), config=config, existing="overwrite").failed
    assert [row.class_name for row in failed] == ["er", "nuc"]
    assert "wait for each other" in failed[0].reason
    arrays = dict.fromkeys(("er", "nuc"), random_values(1, (5, 5, 5)))
    with pytest.raises(InvalidArgumentError, match="wait for each other"):
        process_arrays(arrays, ProcessSettings(steps=steps), voxel_size=VOXEL_SIZE)
    with pytest.raises(InvalidArgumentError, match="need results of pm"):
        process_arrays(arrays, missing, voxel_size=VOXEL_SIZE)


def test_a_result_is_made_anew_when_one_that_it_read_was_made_otherwise(config, write_prediction, run):
    random = {name: random_values(seed, (6, 6, 6)) for seed, name in enumerate(("er", "pm"))}
    steps = {"er": ["threshold", {"name": "inside", "of": ["pm"]}]}
    run(random, steps, (6, 6, 6))
    same = ProcessSettings(steps=steps, block_shape=(6, 6, 6))
    assert {row.status for row in process(same, config=config).rows} == {"there"}
    with pytest.raises(ExistingOutputError, match="pm was made with another options"):
        process(ProcessSettings(steps=steps, threshold={"pm": 0.7}, block_shape=(6, 6, 6)), config=config)


@pytest.mark.parametrize("radius", [0.0, 5.0, 9.0])
def test_closing_removes_nothing_and_twice_is_once(make_blobs, radius):
    mask = make_blobs((16, 24, 24)) > 0.5
    once = close_mask(mask, radius, VOXEL_SIZE)
    assert not (mask & ~once).any()
    np.testing.assert_array_equal(close_mask(once, radius, VOXEL_SIZE), once)
    np.testing.assert_array_equal(once, ~open_mask(~mask, radius, VOXEL_SIZE))
