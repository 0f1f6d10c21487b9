from __future__ import annotations

import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError
from csc_data.formats.reading import open_array
from csc_data.geometry import Grid
from csc_submit import pack_array, pack_results


@pytest.mark.parametrize("class_name", ["mito", "er"])
def test_arrays_in_memory_are_packed_as_stored_ones(config, write_prediction, write_test_crop, class_name):
    labels = np.random.default_rng(0).integers(0, 99 if class_name == "mito" else 2, (20, 20, 20)).astype("u2")
    write_prediction(labels, class_name, kind="label", template="processed")
    crop = write_test_crop((9, 10, 11), (class_name,), voxel_size=(16, 16, 16), translation=(108, 216, 308))
    pack_results(config=config)
    stored = open_array(config.path("submission") / "crop7" / class_name)[...]
    grid = Grid(voxel_size=(8, 8, 8), translation=(104, 204, 304), shape=labels.shape)
    packed = pack_array(labels, grid, crop, class_name)
    np.testing.assert_array_equal(packed, stored)
    assert packed.dtype == stored.dtype == np.uint8


def test_probabilities_need_a_threshold(write_test_crop):
    crop = write_test_crop((4, 4, 4), ("er",))
    values = np.linspace(0, 1, 64, dtype="f4").reshape(4, 4, 4)
    with pytest.raises(InvalidArgumentError, match="threshold"):
        pack_array(values, crop.grid, crop, "er")
    np.testing.assert_array_equal(pack_array(values, crop.grid, crop, "er", threshold=0.3), values > np.float32(0.3))
    with pytest.raises(InvalidArgumentError, match="its grid"):
        pack_array(values[1:], crop.grid, crop, "er", threshold=0.3)
