"""The score of one pair of label volumes: truth and prediction on one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from csc_eval._native import Array, call
from csc_eval.causes import CAUSES
from csc_eval.instances.components import IntArray, Overlaps
from csc_eval.instances.distances import normalise_distances
from csc_eval.instances.matching import NO_MATCHES, Matched, match_overlaps
from csc_eval.instances.pair import InstancePair
from csc_eval.instances.ties import match_as_portal
from csc_eval.rules import Rules
from csc_eval.scoring.formulas import iou
from csc_eval.scoring.metrics import instance_details, semantic_details
from csc_eval.scoring.results import SCORED, TOO_MANY_INSTANCES, LabelScore
from csc_eval.voxels.arrays import VoxelSource
from csc_eval.voxels.boxes import iterate_boxes, take_box


def score_instance_pair(pair: InstancePair, rules: Rules, metrics: Sequence[str] = ()) -> LabelScore:
    """Score instances under one rule set.

    Examples
    --------
    >>> from csc_eval.rules import LEADERBOARD
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 0, 0]]]), (8, 8, 8))
    >>> score = score_instance_pair(pair, LEADERBOARD)
    >>> score.tp, score.fp, score.fn
    (1, 0, 1)
    """
    truth, prediction = pair.truth, pair.prediction
    n_truth, n_predicted = truth.count, prediction.count
    found = find_matching(pair, rules)
    too_many = found is None
    matched = found or NO_MATCHES
    if too_many and rules.excess_is_free:
        return LabelScore(instance=True, tp=0, fp=0, fn=0, status=TOO_MANY_INSTANCES)
    tp = len(matched.truth)
    fp, fn = n_predicted - tp, n_truth - tp
    status = TOO_MANY_INSTANCES if too_many else SCORED
    details = {} if too_many or not metrics else instance_details(pair, matched, metrics)
    if rules.metric == "panoptic":
        iou_sum = math.fsum(pair_ious(pair, matched))
        return LabelScore(
            instance=True, panoptic=True, tp=tp, fp=fp, fn=fn, iou_sum=iou_sum, status=status, details=details
        )
    distances = _truth_distances(pair, matched, rules, too_many=too_many)
    norms = normalise_distances(distances.astype(np.float32), pair.voxel_size)
    surplus = normalise_distances(np.array([pair.cap], np.float32), pair.voxel_size)[0]
    return LabelScore(
        instance=True,
        tp=tp,
        fp=fp,
        fn=fn,
        hausdorff_norm_sum=math.fsum([*norms.tolist(), float(surplus) * fp]),
        n_hausdorff=n_truth + fp,
        status=status,
        details=details,
        portal_differs="" if matched.certain else CAUSES["ties"].what,
    )


def find_matching(pair: InstancePair, rules: Rules) -> Matched | None:
    """Return the matched pairs; None if there are too many instances to be matched.

    Examples
    --------
    >>> from csc_eval.rules import LEADERBOARD
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 0, 0]]]), (8, 8, 8))
    >>> find_matching(pair, LEADERBOARD).truth.tolist()
    [1]
    """
    largest, n_predicted = pair.truth.largest_id, pair.prediction.count
    if largest <= 0 or n_predicted == 0:
        return NO_MATCHES
    if n_predicted / largest > rules.ratio_cutoff(largest) and rules.metric != "panoptic":
        return None
    overlaps = pair.overlaps(rules.max_overlap_pairs)
    return _match(pair, overlaps, rules) if overlaps.complete else None


def _match(pair: InstancePair, overlaps: Overlaps, rules: Rules) -> Matched:
    if rules.metric == "panoptic":
        t, p = overlaps.truth, overlaps.prediction
        # 2 * intersection > union, in integers; such pairs are unique.
        good = 3 * overlaps.voxels > pair.truth.size[t] + pair.prediction.size[p]
        return Matched(t[good], p[good])
    if rules.ties == "portal":
        return match_as_portal(overlaps, pair.truth, pair.prediction)
    return match_overlaps(overlaps, (pair.centroid_distances, pair.distances))


def pair_ious(pair: InstancePair, matched: Matched) -> list[float]:
    """Return intersection over union of pairs that overlap.

    Examples
    --------
    >>> from csc_eval.rules import LEADERBOARD
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 1, 1]]]), (8, 8, 8))
    >>> pair_ious(pair, find_matching(pair, LEADERBOARD))
    [0.5]
    """
    if not len(matched.truth):
        return []
    overlaps = pair.overlaps(2**31)
    wanted = matched.truth << 32 | matched.prediction
    at = np.searchsorted(overlaps.truth << 32 | overlaps.prediction, wanted)
    common = overlaps.voxels[at]
    result: list[float] = (
        common / (pair.truth.size[matched.truth] + pair.prediction.size[matched.prediction] - common)
    ).tolist()
    return result


def _truth_distances(pair: InstancePair, matched: Matched, rules: Rules, *, too_many: bool) -> Array:
    """Distance per truth instance, in nm."""
    distances = np.full(pair.truth.count, pair.cap)
    if too_many or not pair.prediction.count:
        return distances
    partner = np.zeros(pair.truth.count + 1, np.int64)
    partner[matched.truth] = matched.prediction
    second = np.zeros_like(partner)
    if rules.colliding_ids:
        second = _colliding(pair, matched.prediction)
        alone = (partner == 0) & (second > 0)
        partner[alone], second[alone] = second[alone], 0
    asked = np.flatnonzero(partner)
    distances[asked - 1] = pair.distances(asked, partner[asked], second[asked])
    return distances


def _colliding(pair: InstancePair, matched_components: IntArray) -> IntArray:
    """Per truth label the unmatched component whose number is the truth's id, 0 if there is none."""
    n = pair.prediction.count
    unmatched = np.ones(n + 1, bool)
    unmatched[matched_components] = False
    unmatched[0] = False
    ids = pair.truth.ids
    inside = np.where((ids > 0) & (ids <= n), ids, 0)
    return np.where(unmatched[inside], inside, 0)


def count_semantic(truth: VoxelSource, prediction: VoxelSource) -> tuple[int, int, int]:
    """Count voxels in both, in the prediction only and in the truth only; foreground is > 0.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> truth, prediction = MemoryArray(np.array([[[1, 1, 0, 0]]])), MemoryArray(np.array([[[1, 0, 1, 1]]]))
    >>> count_semantic(truth, prediction)
    (1, 2, 1)
    """
    counts = np.zeros(3, np.int64)
    for begin, end in iterate_boxes(truth):
        boxes = [_foreground(take_box(source, begin, end)) for source in (truth, prediction)]
        arguments: list[object] = []
        for mask in boxes:
            found = (None, None) if mask is None else (mask.ctypes.data, np.array(mask.strides, np.int64))
            arguments.extend(found)
        call("count_pairs", np.subtract(end, begin, dtype=np.int64), *arguments, counts)
    return int(counts[0]), int(counts[1]), int(counts[2])


def _foreground(box: Array | None) -> Array | None:
    """Return bytes that are not 0 where a box is above 0, contiguous along x."""
    if box is not None and box.dtype not in (np.uint8, np.bool_):
        box = box > 0
    if box is None or box.strides[2] == 1:
        return box
    return np.ascontiguousarray(box)


def semantic_label_score(
    counts: tuple[int, int, int], n_voxels: int, rules: Rules, metrics: Sequence[str] = ()
) -> LabelScore:
    """Turn voxel counts into a score.

    Examples
    --------
    >>> from csc_eval.rules import LEADERBOARD, PANOPTIC
    >>> semantic_label_score((80, 10, 10), 1000, LEADERBOARD).score
    0.8
    >>> semantic_label_score((80, 10, 10), 1000, PANOPTIC).tp
    1
    """
    tp, fp, fn = counts
    details = semantic_details(tp, fp, fn, n_voxels, metrics) if metrics else {}
    if rules.metric != "panoptic":
        return LabelScore(instance=False, tp=tp, fp=fp, fn=fn, details=details)
    common = iou(tp, fp, fn) if tp else 0.0
    hit = common > 0.5
    return LabelScore(
        instance=False,
        panoptic=True,
        tp=int(hit),
        fp=int(not hit and tp + fp > 0),
        fn=int(not hit and tp + fn > 0),
        iou_sum=common if hit else 0.0,
        details=details,
    )


def describe(score: LabelScore, shape: Sequence[int], voxel_size: Sequence[float]) -> LabelScore:
    """Return the score with the crop's size and voxel size.

    Examples
    --------
    >>> score = describe(LabelScore(instance=False, tp=8, fp=1, fn=1), (10, 10, 10), (8, 8, 8))
    >>> score.num_voxels, score.voxel_size
    (1000, (8, 8, 8))
    """
    return replace(score, num_voxels=math.prod(shape), voxel_size=tuple(voxel_size))
