"""An array in memory is post-processed as a stored prediction is."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError
from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import StoredValues
from csc_submit import ProcessSettings, process, process_array
from csc_submit.values import MeaningUnknownError

VOXEL_SIZE = (8.0, 8.0, 8.0)


def brighter(values):
    return values + 0.02 * (values < 0.9)


def own_ids(values):
    return (values > 0.5).astype(np.uint16) + (values > 0.6)


def many_ids(values):
    ids = np.arange(1, values.size + 1, dtype=np.uint16).reshape(values.shape)
    return np.where(values > 0.5, ids[:, :, :1] + 300, 0)


SETTINGS = {
    "a threshold": {"threshold": 0.6},
    "smoothing and opening": {"smoothing_nm": 8.0, "opening_nm": 9.0},
    "holes, small ones removed": {"fill_holes": True, "min_voxels": 12},
    "by volume": {"min_size_nm3": 20 * 8.0**3, "connectivity": 6},
    "all": {"smoothing_nm": 6.0, "opening_nm": 8.0, "fill_holes": True, "min_voxels": 9, "connectivity": 18},
    "an own step": {"process_func": brighter, "threshold": 0.55},
    "own ids": {"process_func": own_ids, "min_voxels": 3},
    "own ids with holes": {"process_func": many_ids, "fill_holes": True},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("class_name", ["mito", "er"])
def test_the_result_is_what_process_writes_for_one_block(config, write_prediction, make_blobs, name, class_name):
    settings = ProcessSettings(**SETTINGS[name])
    blobs = make_blobs((30, 23, 27), sigma=1.2)
    for crop, one, values in (("crop7", 255.0, np.rint(blobs * 255).astype("u1")), ("crop8", 1.0, blobs.astype("f4"))):
        stored = StoredValues(kind="probability", one=one)
        write_prediction(values, class_name, crop=crop, kind="probability", one=one)
        process(settings, config=config, crops=[crop])
        folder = config.path("processed", dataset="x", crop=crop, class_name=class_name)
        written = np.asarray(open_volume(folder).levels[0].array[...])
        found = process_array(values, class_name, settings, voxel_size=VOXEL_SIZE, stored=stored)
        assert found.dtype == written.dtype
        np.testing.assert_array_equal(found, written)
        assert 0 < np.count_nonzero(found) < found.size


def test_settings_are_those_of_the_class():
    values = np.zeros((4, 4, 12), "f4")
    values[:2, :2, :2], values[:, :, 8:] = 0.9, 0.7
    settings = ProcessSettings(threshold={"er": 0.8}, min_voxels={"mito": 10})
    er, mito = (process_array(values, name, settings, voxel_size=VOXEL_SIZE) for name in ("er", "mito"))
    np.testing.assert_array_equal(er, values > 0.8)
    np.testing.assert_array_equal(mito, values == np.float32(0.7))


def test_labels_are_told_apart_and_what_cannot_be_is_refused():
    labels = np.zeros((3, 3, 6), "u2")
    labels[:, :, :2], labels[:, :, 2:4] = 300, 7  # they touch
    found = process_array(labels, "mito", ProcessSettings(), voxel_size=VOXEL_SIZE, stored=StoredValues(kind="label"))
    assert [found[0, 0, x] for x in (0, 2, 5)] == [1, 2, 0]
    with pytest.raises(MeaningUnknownError, match="not probabilities"):
        process_array(np.full((2, 2, 2), 7.0, "f4"), "er", ProcessSettings(), voxel_size=VOXEL_SIZE)
    with pytest.raises(InvalidArgumentError, match="axes z, y, x"):
        process_array(np.zeros((2, 2)), "er", ProcessSettings(), voxel_size=VOXEL_SIZE)
    with pytest.raises(InvalidArgumentError, match="fill_holes"):
        process_array(
            labels,
            "mito",
            ProcessSettings(fill_holes=True),
            voxel_size=VOXEL_SIZE,
            stored=StoredValues(kind="label"),
        )


def test_a_hole_takes_the_id_around_it_however_large_and_one_between_two_stays(config, write_prediction):
    values = np.zeros((5, 5, 14), "f4")
    values[:, :, :5], values[:, :, 6:13] = 0.9, 0.9
    values[2, 2, 2] = values[2, 2, 9:11] = 0

    def process_func(x):
        ids = np.where(x > 0.5, 301, 0)
        ids[..., 6:9], ids[..., 9:] = np.where(x[..., 6:9] > 0.5, 302, 0), np.where(x[..., 9:] > 0.5, 303, 0)
        return ids

    settings = ProcessSettings(process_func=process_func, fill_holes=True)
    found = process_array(values, "mito", settings, voxel_size=VOXEL_SIZE)
    assert found[2, 2].tolist() == [1] * 5 + [0] + [2] * 3 + [0, 0, 3, 3, 0]
    write_prediction(values, kind="probability")
    process(settings, config=config)
    folder = config.path("processed", dataset="x", crop="crop7", class_name="mito")
    np.testing.assert_array_equal(open_volume(folder).levels[0].array[...], found)


def test_an_own_step_may_number_more_objects_than_the_type_of_its_labels_holds():
    mask = np.zeros((2, 60, 60), "u1")
    mask[0, ::2, ::2] = 1  # 900 voxels apart
    settings = ProcessSettings(process_func=lambda x: np.cumsum(x.ravel() > 0).reshape(x.shape) * (x > 0))
    found = process_array(mask, "mito", settings, voxel_size=(8, 8, 8), stored=StoredValues(kind="label"))
    assert np.count_nonzero(found) == 900
    assert len(np.unique(found)) == 901
    settings = ProcessSettings(process_func=lambda x: (x > 0) * 2**33)
    with pytest.raises(InvalidArgumentError, match="ids up to 8589934592"):
        process_array(mask, "mito", settings, voxel_size=(8, 8, 8), stored=StoredValues(kind="label"))
