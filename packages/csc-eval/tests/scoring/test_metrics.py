"""Further metrics against their definitions, worked out voxel by voxel."""

import math

import numpy as np
import pytest
from scipy import ndimage

import csc_eval
from csc_eval.instances.surfaces import surface, surface_distances
from csc_eval.scoring.metrics import adapted_rand_error, average_precision, variation_of_information


@pytest.fixture
def pair(random_pair):
    def make(seed):
        truth, prediction, voxel_size = random_pair(np.random.default_rng(seed))
        return np.abs(truth.astype(np.int64)), np.nan_to_num(prediction.astype(float)).astype(np.int64), voxel_size

    return make


def entropy(labels):
    _, counts = np.unique(labels, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum())


@pytest.mark.parametrize("seed", range(40))
def test_information_and_rand_agree_with_their_definitions(seed, pair):
    truth, prediction, voxel_size = pair(seed)
    details = csc_eval.score_instances(truth, prediction, voxel_size, rules="pq", metrics=csc_eval.METRICS).details
    segments, _ = csc_eval.connected_components(prediction)
    t, p = truth[truth > 0], segments[truth > 0]
    if not len(t):
        assert (details["vi_split"], details["vi_merge"], details["adapted_rand_error"]) == (0, 0, 0)
        return
    joint = entropy(t.astype(np.int64) * (segments.max() + 1) + p)
    assert details["vi_split"] == pytest.approx(joint - entropy(t), abs=1e-9)
    assert details["vi_merge"] == pytest.approx(joint - entropy(p), abs=1e-9)
    same_t, same_p = t[:, None] == t[None, :], p[:, None] == p[None, :]
    precision, recall = (same_t & same_p).sum() / same_p.sum(), (same_t & same_p).sum() / same_t.sum()
    expected = 1 - 2 * precision * recall / (precision + recall)
    assert details["adapted_rand_error"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_precision_of_detections_agrees_with_its_definition(seed, pair):
    truth, prediction, voxel_size = pair(seed)
    details = csc_eval.score_instances(truth, prediction, voxel_size, rules="pq", metrics=["ap", "pq", "dice"]).details
    segments, count = csc_eval.connected_components(prediction)
    ids = [i for i in np.unique(truth) if i]
    table = np.array(
        [
            [(s & t).sum() / (s | t).sum() for k in range(1, count + 1) for s in [segments == k]]
            for i in ids
            for t in [truth == i]
        ]
    )
    hits = [int((table > 0.5 + 0.05 * k).sum()) for k in range(10)]
    n = len(ids) + count
    expected = np.mean([tp / (n - tp) for tp in hits]) if n else 1.0
    assert details["ap"] == pytest.approx(expected)
    both, total = ((truth > 0) & (prediction != 0)).sum(), (truth > 0).sum() + (prediction != 0).sum()
    assert details["dice"] == pytest.approx(2 * both / total if total else 1.0)
    assert details["pq"] == pytest.approx(2 * table[table > 0.5].sum() / n if n else 1.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_surface_distances_agree_with_all_pairs(seed):
    rng = np.random.default_rng(seed)
    masks = [ndimage.binary_opening(rng.random((9, 10, 11)) < 0.7) for _ in range(2)]
    if not (masks[0].any() and masks[1].any()):
        pytest.skip("nothing to measure")
    voxel_size = np.array([4.0, 2.0, 1.74])
    cross = ndimage.generate_binary_structure(3, 1)
    points = [np.argwhere(m & ~ndimage.binary_erosion(m, cross)) * voxel_size for m in masks]
    np.testing.assert_array_equal(np.argwhere(surface(masks[0])) * voxel_size, points[0])
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    forth, back = distances.min(1), distances.min(0)
    mean, percentile = surface_distances(*masks, voxel_size)
    assert mean == pytest.approx(np.concatenate([forth, back]).mean())
    assert percentile == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))


def test_surface_distances_of_a_shift_by_one_voxel():
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[3:9, 3:9, 3:9] = 1
    details = csc_eval.score_instances(
        truth, np.roll(truth, 1, 0), (8, 8, 8), metrics=["surface_distance_mean", "surface_distance_95"]
    ).details
    assert 0 < details["surface_distance_mean"] < 8
    assert details["surface_distance_95"] == 8
    empty = csc_eval.score_instances(truth, truth * 0, (8, 8, 8), metrics=["surface_distance_mean"]).details
    assert math.isnan(empty["surface_distance_mean"])


def test_perfect_and_worst_values():
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[0], volume[2] = 1, 2
    perfect = csc_eval.score_instances(volume, volume, (8, 8, 8), metrics=csc_eval.METRICS).details
    best = {"vi_split": 0, "vi_merge": 0, "adapted_rand_error": 0, "surface_distance_95": 0, "surface_distance_mean": 0}
    assert perfect == {name: best.get(name, 1) for name in csc_eval.METRICS}
    semantic = csc_eval.score_semantic(volume, volume * 0, metrics=csc_eval.METRICS).details
    assert semantic == {"dice": 0, "precision": 1, "recall": 0}
    assert average_precision(np.empty(0, np.float32), 0, 0) == 1
    assert variation_of_information(np.empty(0), np.empty(0), np.empty(0)) == (0, 0)
    assert adapted_rand_error(np.empty(0), np.empty(0), np.empty(0)) == 0
