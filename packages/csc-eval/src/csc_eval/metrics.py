"""Further metrics, each a pure function of the overlap table, of voxel counts, or of distances.

They are worked out only when asked for by name (`METRICS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_eval.instances import Instances, IntArray, Overlaps

if TYPE_CHECKING:
    from csc_eval.pairs import InstancePair

FloatArray = npt.NDArray[np.float64]

SEMANTIC_METRICS = ("dice", "precision", "recall")
INSTANCE_METRICS = (
    "dice",
    "precision",
    "recall",
    "pq",
    "ap",
    "vi_split",
    "vi_merge",
    "adapted_rand_error",
    "surface_distance_95",
    "surface_distance_mean",
)
METRICS = INSTANCE_METRICS
"""Names of the further metrics; those that a kind of class lacks are left out for it."""

AP_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))


def parse_metrics(metrics: Iterable[str], *, instance: bool) -> tuple[str, ...]:
    """Return those of the metrics that a kind of class has.

    Raises
    ------
    InvalidArgumentError
        If there is none of a name.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InvalidArgumentError(f"there are no metrics {', '.join(unknown)}; they are {', '.join(METRICS)}")
    return tuple(name for name in names if name in (INSTANCE_METRICS if instance else SEMANTIC_METRICS))


def dice(tp: int, fp: int, fn: int) -> float:
    """Return 2 tp / (2 tp + fp + fn), 1 where there is nothing (Dice, Ecology 26, 1945).

    >>> dice(2, 1, 1)
    0.6666666666666666
    """
    total = 2 * tp + fp + fn
    return 2 * tp / total if total else 1.0


def precision(tp: int, fp: int) -> float:
    """Return tp / (tp + fp), 1 where nothing was predicted."""
    return tp / (tp + fp) if tp + fp else 1.0


def recall(tp: int, fn: int) -> float:
    """Return tp / (tp + fn), 1 where there is nothing to find."""
    return tp / (tp + fn) if tp + fn else 1.0


def average_precision(iou: npt.NDArray[np.float32], truth: IntArray, prediction: IntArray, n_truth: int, n_predicted: int,
                      thresholds: Sequence[float] = AP_THRESHOLDS) -> float:  # fmt: skip
    """Return the mean over IoU thresholds of tp / (tp + fp + fn).

    The score of the 2018 Data Science Bowl (Caicedo et al., Nature Methods 16, 2019); from a threshold of 0.5 on, pairs
    above it are unique.
    """
    if n_truth + n_predicted == 0:
        return 1.0
    values = []
    for threshold in thresholds:
        tp = int(np.count_nonzero(iou > threshold))
        values.append(tp / (n_truth + n_predicted - tp))
    return math.fsum(values) / len(values)


def variation_of_information(joint: FloatArray, truth: FloatArray, prediction: FloatArray) -> tuple[float, float]:
    """Return the split and the merge part of the variation of information, in bits.

    Split is H(prediction | truth), merge H(truth | prediction), over voxels of the truth's foreground, with the
    prediction's background as one segment (Meila, COLT 2003; Nunez-Iglesias et al., PLoS ONE 8, 2013).

    Parameters
    ----------
    joint : float array
        Voxels per pair of segments.
    truth, prediction : float arrays
        Voxels of each pair's truth segment and of its predicted segment.
    """
    total = joint.sum()
    if total == 0:
        return 0.0, 0.0
    weight = joint / total
    split = float(-(weight * np.log2(joint / truth)).sum())
    merge = float(-(weight * np.log2(joint / prediction)).sum())
    return abs(split), abs(merge)


def adapted_rand_error(joint: FloatArray, truth: FloatArray, prediction: FloatArray) -> float:
    """Return 1 - F of precision and recall over pairs of voxels, over the truth's foreground.

    Arganda-Carreras et al., Frontiers in Neuroanatomy 9, 2015. Parameters: voxels per pair of segments, per truth
    segment, per predicted segment.
    """
    pairs, of_truth, of_prediction = (float((values**2).sum()) for values in (joint, truth, prediction))
    if of_truth + of_prediction == 0:
        return 0.0
    return 1.0 - 2 * pairs / (of_truth + of_prediction)


def _contingency(overlaps: Overlaps, truth: Instances, prediction: Instances) -> tuple[FloatArray, IntArray, IntArray]:
    """Pairs of truth segments and predicted ones, the prediction's background (label 0) among them."""
    covered = np.bincount(overlaps.truth, overlaps.voxels, minlength=truth.count + 1)
    uncovered = truth.size - covered
    uncovered[0] = 0
    left = np.flatnonzero(uncovered)
    joint = np.concatenate([overlaps.voxels.astype(float), uncovered[left]])
    rows = np.concatenate([overlaps.truth, left])
    columns = np.concatenate([overlaps.prediction, np.zeros(len(left), np.int64)])
    return joint, rows, columns


def _segmentation_details(pair: InstancePair, overlaps: Overlaps) -> dict[str, Callable[[], float]]:
    joint, rows, columns = _contingency(overlaps, pair.truth, pair.prediction)
    in_rows, in_columns = (np.bincount(index, joint) for index in (rows, columns))

    def information() -> tuple[float, float]:
        return variation_of_information(joint, in_rows[rows], in_columns[columns])

    return {
        "vi_split": lambda: information()[0],
        "vi_merge": lambda: information()[1],
        "adapted_rand_error": lambda: adapted_rand_error(joint, in_rows, in_columns),
    }


def instance_details(
    pair: InstancePair, matched: tuple[IntArray, IntArray], metrics: Sequence[str]
) -> dict[str, float]:
    """Work out further metrics of instances; `matched` are the labels of the matched pairs."""
    from csc_eval.surfaces import surface_details

    truth, prediction = pair.truth, pair.prediction
    overlaps = pair.overlaps(2**31)
    tp, fp, fn = len(matched[0]), prediction.count - len(matched[0]), truth.count - len(matched[0])
    iou = overlaps.iou
    half = iou > 0.5
    hits = int(np.count_nonzero(half))
    available: dict[str, Callable[[], float]] = {
        "dice": lambda: dice(tp, fp, fn),
        "precision": lambda: precision(tp, fp),
        "recall": lambda: recall(tp, fn),
        "pq": lambda: (
            2 * float(iou[half].sum()) / max(truth.count + prediction.count, 1)
            if truth.count + prediction.count
            else 1.0
        ),
        "ap": lambda: average_precision(iou, overlaps.truth, overlaps.prediction, truth.count, prediction.count),
        **_segmentation_details(pair, overlaps),
    }
    del hits
    result = {name: available[name]() for name in metrics if name in available}
    wanted = [name for name in metrics if name.startswith("surface_distance")]
    return result | (surface_details(pair, matched, wanted) if wanted else {})


def semantic_details(tp: int, fp: int, fn: int, n_voxels: int, metrics: Sequence[str]) -> dict[str, float]:
    """Work out further metrics of a semantic mask from its voxel counts."""
    values = {"dice": dice(tp, fp, fn), "precision": precision(tp, fp), "recall": recall(tp, fn)}
    return {name: values[name] for name in metrics}
