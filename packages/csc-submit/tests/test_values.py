from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import StoredValues
from csc_submit.values import (
    MeaningUnknownError,
    above_threshold,
    check_block,
    decode,
    decoded_threshold,
    find_meaning,
)


@given(probability=st.floats(0.01, 0.99), kind=st.sampled_from(["probability", "logit", "distance"]))
def test_a_threshold_means_the_same_for_all_kinds_and_after_decoding(probability, kind):
    values = StoredValues(kind=kind)
    at = values.stored_threshold(probability)
    stored = np.array([at - 1e-3, at + 1e-3], dtype=np.float64)
    assert above_threshold(stored, values, probability).tolist() == [False, True]
    assert (decode(stored, values) > decoded_threshold(values, probability)).tolist() == [False, True]


def test_packed_probabilities_are_cut_at_their_own_scale():
    values = StoredValues(kind="probability", one=255)
    stored = np.arange(256, dtype=np.uint8)
    assert np.flatnonzero(above_threshold(stored, values, 0.5))[0] == 128
    assert np.flatnonzero(above_threshold(stored, values, 0.9))[0] == 230


def test_logits_of_zero_and_unknown_voxels_are_absent():
    stored = np.array([0.0, np.nan, np.inf, -np.inf], dtype=np.float32)
    values = StoredValues(kind="logit")
    assert above_threshold(stored, values, 0.5).tolist() == [False, False, True, False]
    assert decode(stored, values).tolist() == [0.5, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("dtype", "kind", "one"),
    [("u1", "label", 1), ("i8", "label", 1), ("f4", "probability", 1), ("f2", "probability", 1), ("?", "label", 1)],
)
def test_meaning_without_a_word_follows_the_type(write_prediction, dtype, kind, one):
    folder = write_prediction(np.zeros((4, 4, 4), dtype))
    meaning = find_meaning(open_volume(folder))
    assert (meaning.values.kind, meaning.values.one, meaning.assumed) == (kind, one, True)


def test_what_the_file_says_beats_what_is_assumed(write_prediction):
    folder = write_prediction(np.zeros((4, 4, 4), "u1"), kind="probability", one=255)
    meaning = find_meaning(open_volume(folder), "label")
    assert meaning.values == StoredValues(kind="probability", one=255)
    assert not meaning.assumed


def test_stored_as_gives_packed_probabilities_the_range_of_their_type(write_prediction):
    folder = write_prediction(np.zeros((4, 4, 4), "u2"))
    assert find_meaning(open_volume(folder), "probability").values.one == 65535


@pytest.mark.parametrize(
    ("data", "instances", "words"),
    [
        (np.array([-4.0, 9.0], "f4"), False, "no probabilities"),
        (np.array([np.nan, 0.5, 9.0], "f4"), False, "no probabilities"),
        (np.array([-1, 2], "i4"), True, "0 or more"),
        (np.array([0, 7, 200], "u1"), False, "may be labels or packed probabilities"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_with_what_to_do(write_prediction, data, instances, words):
    folder = write_prediction(data.reshape(1, 1, -1))
    with pytest.raises(MeaningUnknownError, match=words):
        check_block(data, find_meaning(open_volume(folder)), instances=instances)


@pytest.mark.parametrize(
    ("data", "instances"),
    [
        (np.array([0, 1], "u1"), False),
        (np.array([0, 255], "u1"), False),
        (np.array([0, 7, 200], "u1"), True),
        (np.array([0.0, 1.0, np.nan], "f4"), False),
        (np.zeros(0, "f4"), False),
    ],
)
def test_numbers_that_fit_pass(write_prediction, data, instances):
    folder = write_prediction(np.zeros((1, 1, 3), data.dtype))
    check_block(data, find_meaning(open_volume(folder)), instances=instances)
