from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from csc_data.errors import MissingDataError
from csc_submit.predictions import find_predictions, find_stored


def test_all_are_found_in_natural_order_and_unfinished_or_foreign_folders_are_not(config, write_prediction):
    for crop, name in (("crop10", "er"), ("crop9", "mito"), ("crop9", "er")):
        write_prediction(np.zeros((2, 2, 2), "u1"), name, crop=crop)
    place = config.path("predictions", dataset="x", crop="crop9", class_name="er").parent
    write_prediction(np.zeros((2, 2, 2), "u1"), ".pm.part", crop="crop9")
    (place / "notes").mkdir()
    found = find_predictions(config)
    assert [(p.dataset, p.crop, p.class_name) for p in found] == [
        ("x", "crop9", "er"),
        ("x", "crop9", "mito"),
        ("x", "crop10", "er"),
    ]
    assert found[0].path == place / "er"


def test_other_templates_are_read_backwards(config, write_prediction):
    write_prediction(np.zeros((2, 2, 2), "u1"), "er")
    other = dataclasses.replace(config, predictions="predictions/{dataset}.zarr/{crop}/{class_name}/s0")
    (found,) = find_predictions(other)
    assert (found.dataset, found.crop, found.class_name) == ("x", "crop7", "er")
    with pytest.raises(MissingDataError, match="csc predict"):
        find_predictions(dataclasses.replace(config, predictions="elsewhere/{crop}/{dataset}/{class_name}"))


def test_results_are_found_where_their_template_says(config, write_prediction):
    write_prediction(np.zeros((2, 2, 2), "u1"), "er", template="processed")
    (found,) = find_stored(config, "processed")
    assert (found.dataset, found.crop, found.class_name) == ("x", "crop7", "er")
    assert find_stored(config, "predictions") == ()
