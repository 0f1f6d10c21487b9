from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.volumes.stored_values import ATTRIBUTE, StoredValues

kinds = st.sampled_from(["probability", "logit", "distance", "label"])


@given(kinds, st.floats(1e-3, 1e6))
def test_it_survives_json(kind, one):
    values = StoredValues(kind=kind, one=one)
    assert StoredValues.from_attributes(json.loads(json.dumps(values.to_attributes()))) == values


@given(st.floats(0.001, 0.999))
def test_thresholds_are_those_of_the_probability(probability):
    assert StoredValues(kind="probability", one=255).stored_threshold(probability) == pytest.approx(255 * probability)
    logit = StoredValues(kind="logit").stored_threshold(probability)
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(probability)
    assert StoredValues(kind="distance", one=10).stored_threshold(probability) == pytest.approx(
        10 * (2 * probability - 1)
    )


@pytest.mark.parametrize("kind", ["probability", "logit", "distance"])
def test_one_half_is_the_middle(kind):
    assert StoredValues(kind=kind).stored_threshold(0.5) == {"probability": 0.5, "logit": 0.0, "distance": 0.0}[kind]


@pytest.mark.parametrize("probability", [0, 1, -0.1, 1.1, math.nan])
def test_only_probabilities_are_thresholds(probability):
    with pytest.raises(InvalidArgumentError, match="strictly between 0 and 1"):
        StoredValues(kind="logit").stored_threshold(probability)


def test_labels_have_no_threshold():
    with pytest.raises(InvalidArgumentError, match="no threshold"):
        StoredValues(kind="label").stored_threshold(0.5)


def test_files_of_other_tools_say_nothing():
    assert StoredValues.from_attributes({"voxel_size": [8, 8, 8]}) is None


@pytest.mark.parametrize(
    "entry",
    [
        "logit",
        3,
        [],
        {"kind": "logit"},
        {"kind": "odds", "one": 1},
        {"kind": "logit", "one": 0},
        {"kind": "logit", "one": "x"},
        {"kind": "logit", "one": math.nan},
        {"kind": ["logit"], "one": 1},
    ],
)
def test_damage_is_not_taken_for_nothing(entry):
    with pytest.raises(UnreadableDataError, match=ATTRIBUTE):
        StoredValues.from_attributes({ATTRIBUTE: entry})


@pytest.mark.parametrize(("kind", "one"), [("odds", 1), ("logit", 0), ("logit", -1), ("logit", math.nan)])
def test_values_that_cannot_be_are_refused(kind, one):
    with pytest.raises(InvalidArgumentError, match="kind must be one of"):
        StoredValues(kind=kind, one=one)
