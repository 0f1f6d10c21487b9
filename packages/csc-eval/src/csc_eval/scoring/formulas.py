"""Scores as functions of counts; every metric of a class or a crop comes from here."""

from __future__ import annotations

import math


def iou(tp: int, fp: int, fn: int) -> float:
    """Return tp / (tp + fp + fn), 1 where there is nothing (Jaccard, 1901).

    Examples
    --------
    >>> iou(tp=8, fp=1, fn=1), iou(0, 0, 0)
    (0.8, 1.0)
    """
    return tp / (tp + fp + fn) if tp + fp + fn else 1.0


def dice(tp: int, fp: int, fn: int) -> float:
    """Return 2 tp / (2 tp + fp + fn), 1 where there is nothing (Dice, Ecology 26, 1945).

    >>> dice(2, 1, 1)
    0.6666666666666666
    """
    total = 2 * tp + fp + fn
    return 2 * tp / total if total else 1.0


def precision(tp: int, fp: int) -> float:
    """Return tp / (tp + fp), 1 where nothing was predicted.

    Examples
    --------
    >>> precision(tp=3, fp=1), precision(0, 0)
    (0.75, 1.0)
    """
    return tp / (tp + fp) if tp + fp else 1.0


def recall(tp: int, fn: int) -> float:
    """Return tp / (tp + fn), 1 where there is nothing to find.

    Examples
    --------
    >>> recall(tp=3, fn=1), recall(0, 0)
    (0.75, 1.0)
    """
    return tp / (tp + fn) if tp + fn else 1.0


def instance_metrics(tp: int, fp: int, fn: int, hausdorff_norm_sum: float, n_hausdorff: int) -> dict[str, float]:
    """Return F1, mean normalised Hausdorff distance and the root of their product.

    >>> instance_metrics(0, 0, 0, 0.0, 0)["combined_score"]
    1.0
    """
    if 2 * tp + fp + fn == 0 and n_hausdorff == 0:
        return {"f1": 1.0, "normalized_hausdorff_distance": 1.0, "combined_score": 1.0}
    f1 = 2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0.0
    distance = hausdorff_norm_sum / n_hausdorff if n_hausdorff else 0.0
    return {"f1": f1, "normalized_hausdorff_distance": distance, "combined_score": math.sqrt(f1 * distance)}


def panoptic_quality(tp: int, fp: int, fn: int, iou_sum: float) -> dict[str, float]:
    """Return panoptic, segmentation and recognition quality (Kirillov et al., Panoptic Segmentation, CVPR 2019).

    >>> panoptic_quality(1, 1, 1, 0.8)
    {'pq': 0.4, 'sq': 0.8, 'rq': 0.5}
    """
    if tp + fp + fn == 0:
        return {"pq": 1.0, "sq": 1.0, "rq": 1.0}
    weight = tp + fp / 2 + fn / 2
    return {"pq": iou_sum / weight, "sq": iou_sum / tp if tp else 0.0, "rq": tp / weight}
