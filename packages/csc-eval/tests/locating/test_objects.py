"""Errors are found in the right way, once each, and at places where they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_eval.locating.intervals import Intervals
from csc_eval.locating.objects import object_errors
from csc_eval.placing.predictions import CropGrid
from csc_eval.rules import DEFINITION
from csc_eval.scoring.array_scores import pair_volumes
from csc_eval.scoring.pairs import find_matching

VOXEL = (4.0, 8.0, 2.0)
SHIFT = (100.0, 200.0, 300.0)


def errors(truth, prediction, most=99):
    grid = CropGrid(voxel_size=VOXEL, translation=SHIFT, shape=truth.shape)
    pair = pair_volumes(truth, prediction, VOXEL)
    return object_errors(pair, find_matching(pair, DEFINITION), grid, most)


def boxes(*values):
    """Return a volume with a bar of 3 x 4 voxels at each given range of x, or None."""
    volume = np.zeros((5, 6, 40), np.int32)
    for number, (begin, end) in enumerate(values, start=1):
        volume[1:4, 1:5, begin:end] = number
    return volume


def test_an_object_that_was_not_found_and_one_that_is_not_there():
    counts, places = errors(boxes((0, 10), (20, 30)), boxes((0, 10), (34, 36)))
    assert counts == {"missed": 1, "false": 1}
    missed, false = places  # the larger one first
    assert (missed.kind, missed.truth, missed.prediction, missed.truth_voxels) == ("missed", (2,), (), 120)
    assert (false.kind, false.prediction, false.prediction_voxels, false.iou) == ("false", (2,), 24, 0.0)
    assert (missed.begin, missed.end) == ((1, 1, 20), (4, 5, 30))
    assert missed.place_nm == tuple(s + v * n for s, v, n in zip(SHIFT, VOXEL, missed.voxel, strict=True))


def test_two_objects_in_one_are_merged_and_neither_is_missed():
    counts, places = errors(boxes((0, 12), (13, 21)), boxes((0, 21)))
    assert counts == {"merged": 1}
    assert places[0].truth == (1, 2)
    assert places[0].wrong_voxels == 8 * 12  # of the smaller one
    assert 8 <= places[0].voxel[2] <= 14  # where they meet, not in the middle of one
    assert places[0].iou == pytest.approx(12 / 21)


def test_pieces_of_one_object_are_split_and_none_is_false():
    counts, places = errors(boxes((0, 21)), boxes((0, 12), (13, 21)))
    assert counts == {"split": 1}
    assert places[0].prediction == (1, 2)
    assert places[0].wrong_voxels == 8 * 12


def test_a_matched_pair_that_hardly_fits():
    counts, places = errors(boxes((0, 10)), boxes((7, 17)))
    assert counts == {"inexact": 1}
    assert places[0].iou == pytest.approx(3 / 17)
    assert places[0].wrong_voxels == 14 * 12
    assert errors(boxes((0, 10)), boxes((1, 11))) == ({}, ())


def test_only_the_worst_are_located_and_all_are_counted():
    counts, places = errors(boxes((0, 3), (5, 12), (14, 20)), np.zeros((5, 6, 40), int), most=2)
    assert counts == {"missed": 3}
    assert [place.truth for place in places] == [(2,), (3,)]


@given(st.integers(0, 2**32 - 1))
def test_places_lie_in_their_objects_and_every_object_is_told_of_at_most_once(random_pair, seed):
    truth, prediction, _ = random_pair(np.random.default_rng(seed))
    truth = np.maximum(truth.astype(np.int64), 0)
    pair = pair_volumes(truth, prediction, VOXEL)
    grid = CropGrid(voxel_size=VOXEL, translation=SHIFT, shape=truth.shape)
    matched = find_matching(pair, DEFINITION)
    counts, places = object_errors(pair, matched, grid, 10**6) if matched is not None else ({}, ())
    assert sum(counts.values()) == len(places)
    whole = [Intervals.of(grouped) for grouped in pair.grouped]
    both = (truth > 0) & (prediction != 0)
    assert whole[0].common_per_plane(whole[1]).tolist() == both.sum((1, 2)).tolist()
    for place in places:
        assert all(b <= n < e for b, n, e in zip(place.begin, place.voxel, place.end, strict=True))
        if place.kind in ("missed", "split"):
            assert truth[place.voxel] == place.truth[0]
            assert place.truth_voxels == np.count_nonzero(truth == place.truth[0])
        elif place.kind in ("false", "merged"):
            assert prediction[place.voxel] != 0
    told = [(place.kind, number) for place in places for number in place.prediction if place.kind in ("false", "split")]
    assert len(told) == len(set(told))
    found = {number for place in places if place.kind in ("missed", "merged") for number in place.truth}
    lacking = set(np.unique(truth).tolist()) - {0} - set(pair.truth.ids[matched.truth].tolist()) if matched else set()
    split = {place.truth[0] for place in places if place.kind == "split"}
    assert lacking <= found | split
