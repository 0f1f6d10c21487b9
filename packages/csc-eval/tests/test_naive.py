"""The fast path against a naive reference: one mask per instance, one distance transform per pair."""

import numpy as np
import pytest

import csc_eval
from csc_data.errors import CscError
from csc_eval.instances.components import find_overlaps, label_components, label_ids
from csc_eval.instances.matching import match_overlaps, pair_costs
from csc_eval.instances.pair import InstancePair
from csc_eval.scoring.pairs import find_matching, score_instance_pair
from csc_eval.voxels.arrays import MemoryArray
from csc_eval.voxels.runs import encode_runs

CHUNKS_OF_SEEDS = range(20)
SEEDS_PER_CHUNK = 25


def make_pair(truth, prediction, voxel_size):
    return InstancePair(
        truth=label_ids(encode_runs(MemoryArray(truth))),
        prediction=label_components(encode_runs(MemoryArray(prediction))),
        voxel_size=voxel_size,
    )


@pytest.mark.parametrize("part", CHUNKS_OF_SEEDS)
def test_instances_agree_on_random_volumes(part, random_pair, naive_components, naive_score):
    for seed in range(part * SEEDS_PER_CHUNK, (part + 1) * SEEDS_PER_CHUNK):
        rng = np.random.default_rng(seed)
        truth, prediction, voxel_size = random_pair(rng)
        order = "C"
        if seed % 3 == 0:
            prediction, order = np.asfortranarray(prediction), "F"
            order = "C" if prediction.flags.c_contiguous else "F"
        pieces = naive_components(prediction, order)
        labels, count = csc_eval.connected_components(prediction)
        assert count == len(pieces)
        for number, piece in enumerate(pieces, 1):
            np.testing.assert_array_equal(labels == number, piece, err_msg=f"seed {seed}")
        pair = make_pair(truth, prediction, voxel_size)
        for rules in (csc_eval.LEADERBOARD, csc_eval.DEFINITION):
            score = score_instance_pair(pair, rules)
            if score.status != "scored":
                largest = int(truth.max())
                assert count / largest > rules.ratio_cutoff(largest)
                continue
            matched = find_matching(pair, rules)
            found = zip(matched.truth, matched.prediction, strict=True)
            matching = {int(p): int(pair.truth.ids[t]) for t, p in found}
            if not (truth.max() > 0 and count):
                matching = {}
            expected = naive_score(truth, prediction, voxel_size, matching, collide=rules.colliding_ids, order=order)
            actual = (score.tp, score.fp, score.fn, score.hausdorff_norm_sum, score.n_hausdorff)
            assert actual == pytest.approx(expected, rel=0, abs=1e-9), f"seed {seed}, {rules.name}"


@pytest.mark.parametrize("part", range(5))
def test_the_matching_is_optimal(part, random_pair):
    """Against scipy's dense assignment, in which being unmatched is a column of its own."""
    from scipy.optimize import linear_sum_assignment

    for seed in range(part * 100, (part + 1) * 100):
        truth, prediction, voxel_size = random_pair(np.random.default_rng(seed))
        pair = make_pair(truth, prediction, voxel_size)
        overlaps = find_overlaps(pair.truth, pair.prediction)
        costs = pair_costs(overlaps.iou)
        n, m = pair.truth.count, pair.prediction.count
        dense = np.full((n, m + n), 10**9)
        dense[overlaps.truth - 1, overlaps.prediction - 1] = costs
        dense[np.arange(n), m + np.arange(n)] = 1_000_001
        best = dense[linear_sum_assignment(dense)].sum()
        cost_of = {(int(t), int(p)): int(c) for t, p, c in zip(overlaps.truth, overlaps.prediction, costs, strict=True)}
        for breakers in ((), (pair.centroid_distances, pair.distances)):
            found = match_overlaps(overlaps, breakers)
            t, p = found.truth, found.prediction
            assert len(set(t.tolist())) == len(t)
            assert len(set(p.tolist())) == len(p)
            total = sum(cost_of[int(a), int(b)] for a, b in zip(t, p, strict=True)) + (n - len(t)) * 1_000_001
            assert total == best, f"seed {seed}"


@pytest.mark.parametrize("part", range(5))
def test_semantic_counts_agree_on_random_volumes(part, random_pair):
    for seed in range(part * 100, (part + 1) * 100):
        truth, prediction, _ = random_pair(np.random.default_rng(seed))
        with np.errstate(invalid="ignore"):
            t, p = truth > 0, prediction > 0
        score = csc_eval.score_semantic(truth, prediction)
        assert (score.tp, score.fp, score.fn) == ((t & p).sum(), (p & ~t).sum(), (t & ~p).sum())


@pytest.mark.parametrize("part", range(5))
def test_panoptic_quality_agrees_on_random_volumes(part, random_pair, naive_components):
    for seed in range(part * 40, (part + 1) * 40):
        truth, prediction, voxel_size = random_pair(np.random.default_rng(seed))
        score = csc_eval.score_instances(truth, prediction, voxel_size, rules="pq")
        pieces = naive_components(prediction)
        ids = [i for i in np.unique(truth) if i != 0]
        ious = [(piece & (truth == i)).sum() / (piece | (truth == i)).sum() for i in ids if i > 0 for piece in pieces]
        good = [iou for iou in ious if iou > 0.5]
        assert (score.tp, score.fp, score.fn) == (len(good), len(pieces) - len(good), len(ids) - len(good))
        assert score.iou_sum == pytest.approx(sum(good), abs=1e-12)


def test_match_instances_names_both_sides():
    truth = np.array([[[5, 5, 0, 9, 9, 0, 3]]], np.uint16)
    matching = csc_eval.match_instances(truth, np.array([[[0, 1, 0, 1, 1, 1, 0]]]))
    assert matching.to_dict() == {1: 5, 2: 9}
    assert matching.iou.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert (matching.unmatched_truth.tolist(), matching.unmatched_prediction.tolist()) == ([3], [])
    speckle = np.zeros((9, 9, 99), np.uint8)
    speckle[::2, ::2, ::2] = 1
    with pytest.raises(CscError, match="match none of them"):
        csc_eval.match_instances(np.ones_like(speckle), speckle)
