"""What counts as one instance, how instances are numbered, and what they have in common."""

import numpy as np
import pytest

import csc_eval
from csc_data.errors import UnreadableDataError
from csc_eval.instances.components import find_overlaps, keep_components, label_components, label_ids
from csc_eval.voxels.arrays import MemoryArray
from csc_eval.voxels.runs import encode_runs


def ids_of(values):
    return label_ids(encode_runs(MemoryArray(values)))


@pytest.mark.parametrize(
    "ids",
    [[1, 2**32 + 1], [2**32, 2**33], [7, 2**40 + 7, 2**62 + 7], [2**24 - 1, 2**24, 2**24 + 1], [3, 2**63 - 1]],
)
def test_ids_of_a_truth_keep_all_their_bits(ids):
    volume = np.array([[[*ids, 0, *ids]]], np.uint64)
    found = ids_of(volume)
    assert found.ids.tolist() == [0, *ids]
    assert found.size.tolist() == [0, *[2] * len(ids)]
    assert found.largest_id == max(ids)
    score = csc_eval.score_instances(volume, volume, (8, 8, 8))
    # The prediction has each id twice, in two pieces.
    assert (score.tp, score.fp, score.fn) == (len(ids), len(ids), 0)


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, -np.inf, 2.0**53])
def test_ids_that_are_not_whole_numbers_are_refused(value):
    with pytest.raises(UnreadableDataError, match="store it as unsigned integers"):
        ids_of(np.array([[[1.0, value]]]))


def test_whole_floats_are_ids_and_unsigned_ones_end_at_63_bits():
    assert ids_of(np.array([[[1.0, 5.0, 2.0**52]]])).ids.tolist() == [0, 1, 5, 2**52]
    with pytest.raises(UnreadableDataError, match="beyond"):
        ids_of(np.array([[[1, 2**63]]], np.uint64))


def test_ids_below_0_are_instances_that_overlap_nothing():
    truth = ids_of(np.array([[[-3, -3, 4, 4]]], np.int16))
    assert truth.ids.tolist() == [0, 4, -3]
    prediction = label_components(encode_runs(MemoryArray(np.array([[[1, 1, 2, 2]]]))))
    overlaps = find_overlaps(truth, prediction)
    assert (overlaps.truth.tolist(), overlaps.prediction.tolist(), overlaps.voxels.tolist()) == ([1], [2], [2])


@pytest.mark.parametrize(("order", "expected"), [("C", [1, 2, 3]), ("F", [1, 3, 2])])
def test_components_are_numbered_by_their_first_voxels_in_the_order_of_memory(order, expected):
    volume = np.zeros((5, 5, 5), np.uint8)
    places = [(0, 0, 0), (0, 4, 4), (4, 2, 2)]
    for place in places:
        volume[place] = 1
    labels, count = csc_eval.connected_components(np.array(volume, order=order))
    assert count == 3
    assert [int(labels[place]) for place in places] == expected


def test_corners_connect_other_values_do_not_and_each_nan_is_alone():
    volume = np.array([[[1, 0], [0, 1]], [[2, 0], [0, 0]]], np.uint8)
    labels, count = csc_eval.connected_components(volume)
    assert (labels.tolist(), count) == ([[[1, 0], [0, 1]], [[2, 0], [0, 0]]], 2)
    assert csc_eval.connected_components(np.full((1, 1, 3), np.nan, np.float32))[1] == 3


def test_sizes_and_sums_of_positions_are_those_of_the_voxels():
    volume = np.random.default_rng(2).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    found = ids_of(volume)
    for label, number in enumerate(found.ids[1:], 1):
        where = np.argwhere(volume == number)
        assert found.size[label] == len(where)
        assert found.sums[label].tolist() == where.sum(axis=0).tolist()


def test_components_that_are_kept_are_those_of_a_volume_without_the_others():
    generator = np.random.default_rng(3)
    volume = (generator.random((9, 10, 11)) < 0.12).astype(np.uint8)
    labels, count = csc_eval.connected_components(volume)
    found = label_components(encode_runs(MemoryArray(volume)))
    kept = generator.random(count) < 0.5
    part = keep_components(found, kept)
    alone = label_components(encode_runs(MemoryArray(volume * np.concatenate([[False], kept])[labels])))
    assert 0 < alone.count < count
    for name in ("label", "ids", "size", "sums"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))
    for name in ("line_ptr", "start", "stop", "key"):
        np.testing.assert_array_equal(getattr(part.runs, name), getattr(alone.runs, name))
