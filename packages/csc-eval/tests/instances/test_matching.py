"""Which prediction belongs to which truth, also where several choices are equally good."""

import numpy as np
import pytest

from csc_eval.instances.components import find_overlaps, label_ids
from csc_eval.instances.matching import assign, match_overlaps, pair_costs
from csc_eval.voxels.arrays import MemoryArray
from csc_eval.voxels.runs import encode_runs


def test_costs_are_the_official_ones_to_the_last_unit():
    pairs = [(n, m) for m in range(1, 200) for n in range(1, m + 1)]
    iou = np.array([n / m for n, m in pairs]).astype(np.float32)
    assert pair_costs(iou).tolist() == [int((1 - float(value)) * 1_000_000) for value in iou]


def instances(values):
    return label_ids(encode_runs(MemoryArray(np.array([[values]]))))


def test_the_sum_counts_not_the_best_pair():
    truth, prediction = instances([1, 1, 1, 2, 2, 2, 2]), instances([0, 5, 5, 5, 6, 6, 6])
    matched = match_overlaps(find_overlaps(truth, prediction))
    assert (matched.truth.tolist(), matched.prediction.tolist()) == ([1, 2], [1, 2])


@pytest.mark.parametrize("nearest", [0, 1, 2])
@pytest.mark.parametrize("side", ["truth", "prediction"])
def test_of_equal_pairs_the_nearest_is_taken(side, nearest):
    """Three that overlap one alike: by IoU any would do."""
    three, one = instances([1, 1, 2, 2, 3, 3]), instances([9, 9, 9, 9, 9, 9])
    truth, prediction = (three, one) if side == "truth" else (one, three)

    def distance(t, p):
        several = t if side == "truth" else p
        return np.where(several == nearest + 1, 1.0, 5.0)

    overlaps = find_overlaps(truth, prediction)
    found = match_overlaps(overlaps, (distance,))
    assert (found.truth if side == "truth" else found.prediction).tolist() == [nearest + 1]
    # A second distance decides where the first does not.
    found = match_overlaps(overlaps, (lambda t, p: np.ones(len(t)), distance))
    assert (found.truth if side == "truth" else found.prediction).tolist() == [nearest + 1]


def test_a_row_may_stay_without_a_column():
    rows, columns = np.array([0, 1]), np.array([0, 0])
    found = assign(rows, columns, np.array([5, 3]), np.array([10, 10]), 1)
    assert found.edge.tolist() == [-1, 1]
