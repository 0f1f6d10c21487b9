"""A `process_func` that gets several classes at once."""

from __future__ import annotations

import numpy as np
import pytest

from csc_data.errors import ExistingOutputError
from csc_data.formats.reading import open_array
from csc_submit import ProcessSettings, process, process_arrays

CLASSES = ("er_mem", "er_lum", "pm")
GRID = {"block_shape": (8, 16, 7), "process_halo": (0, 0, 0)}


def strongest(x):
    """Leave of each voxel the class that is most probable."""
    assert x.shape[0] == 3
    return x * (x == x.max(axis=0))


@pytest.fixture
def probabilities(make_blobs):
    return {name: make_blobs((13, 14, 15), seed=seed) for seed, name in enumerate(CLASSES)}


@pytest.fixture
def stored(config):
    def read(class_name):
        place = config.path("processed", dataset="x", crop="crop7", class_name=class_name)
        return np.asarray(open_array(place / "s0")[...])

    return read


def expected(probabilities):
    together = np.stack(list(probabilities.values()))
    return dict(zip(CLASSES, (together == together.max(axis=0)) & (together > 0.4), strict=True))


def test_it_sees_and_returns_all_of_them(config, write_prediction, probabilities, stored):
    for name, values in {**probabilities, "nuc": probabilities["pm"]}.items():
        write_prediction(values, name, kind="probability")
    settings = ProcessSettings(process_func=strongest, process_classes=CLASSES, threshold=0.4, **GRID)
    assert not process(settings, config=config).failed
    for name, mask in expected(probabilities).items():
        assert mask.any()
        np.testing.assert_array_equal(stored(name), mask)
    np.testing.assert_array_equal(stored("nuc"), probabilities["pm"] > 0.4)  # not one of them
    arrays = process_arrays(probabilities, settings, voxel_size=(8, 8, 8))
    np.testing.assert_array_equal(arrays["er_lum"], stored("er_lum"))


def test_those_that_are_not_to_be_processed_are_read_all_the_same(config, write_prediction, probabilities, stored):
    for name, values in probabilities.items():
        write_prediction(values, name, kind="probability")
    settings = ProcessSettings(process_func=strongest, process_classes=CLASSES, classes=("pm",), threshold=0.4, **GRID)
    (row,) = process(settings, config=config).rows
    assert (row.class_name, row.status) == ("pm", "done")
    np.testing.assert_array_equal(stored("pm"), expected(probabilities)["pm"])
    other = ProcessSettings(
        process_func=strongest, process_classes=CLASSES[::-1], classes=("pm",), threshold=0.4, **GRID
    )
    with pytest.raises(ExistingOutputError, match="process_classes"):
        process(other, config=config)


@pytest.mark.parametrize(("shape", "axes"), [("(1, 64, 64)", (13, 3, 14, 15)), ("(64, 64, 64)", (1, 3, 13, 14, 15))])
def test_in_the_official_form_they_are_channels(tmp_path, config, write_prediction, probabilities, stored, shape, axes):
    for name, values in probabilities.items():
        write_prediction(values, name, kind="probability")
    file = tmp_path / "process.py"
    file.write_text(
        f"input_array_info = {{'shape': {shape}, 'scale': (8, 8, 8)}}\n"
        f"process_classes = {list(CLASSES)}\n"
        f"def process_func(x):\n    assert x.shape == {axes}\n"
        "    return (x == x.max(axis=1, keepdims=True)) & (x > 0)\n"
    )
    assert not process(file, config=config).failed
    together = np.stack(list(probabilities.values()))
    most = (together == together.max(axis=0)) & (together > 0.5)
    for name, mask in zip(CLASSES, most, strict=True):
        np.testing.assert_array_equal(stored(name), mask)


def test_what_is_missing_or_stored_otherwise_or_of_another_shape_is_named(config, write_prediction, probabilities):
    settings = ProcessSettings(process_func=strongest, process_classes=CLASSES)
    for name in CLASSES[:2]:
        write_prediction(probabilities[name], name, kind="probability")
    reasons = [row.reason for row in process(settings, config=config).failed]
    assert len(reasons) == 2
    assert all("read pm, which was not predicted" in reason for reason in reasons)
    write_prediction(probabilities["pm"], "pm", kind="logit")
    reasons = [row.reason for row in process(settings, config=config).failed]
    assert len(reasons) == 3
    assert all("process_classes must be stored alike" in reason for reason in reasons)
    flat = ProcessSettings(process_func=lambda x: x[0], process_classes=CLASSES[:2], classes=CLASSES[:2])
    (row, _) = process(flat, config=config).failed
    assert "must keep the shape" in row.reason
