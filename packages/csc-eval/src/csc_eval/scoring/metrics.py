"""Further metrics, each a pure function of the overlap table, of voxel counts, or of distances.

They are worked out only when asked for by name (`METRICS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_eval.instances.components import Instances, IntArray, Overlaps
from csc_eval.instances.matching import Matched
from csc_eval.instances.pair import InstancePair
from csc_eval.scoring.formulas import dice, precision, recall

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

    Examples
    --------
    >>> parse_metrics(["dice", "pq"], instance=False), parse_metrics("pq", instance=True)
    (('dice',), ('pq',))
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InvalidArgumentError(f"there are no metrics {', '.join(unknown)}; they are {', '.join(METRICS)}")
    return tuple(name for name in names if name in (INSTANCE_METRICS if instance else SEMANTIC_METRICS))


def average_precision(
    iou: npt.NDArray[np.float32], n_truth: int, n_predicted: int, thresholds: Sequence[float] = AP_THRESHOLDS
) -> float:
    """Return the mean over IoU thresholds of tp / (tp + fp + fn).

    The score of the 2018 Data Science Bowl (Caicedo et al., Nature Methods 16, 2019). From a threshold of 0.5 on, pairs
    above it are unique, so no matching is needed.

    Parameters
    ----------
    iou : float32 array
        Of every overlapping pair.
    n_truth, n_predicted : int
        How many instances there are.
    thresholds : sequence of float
        Each at least 0.5; by default 0.5, 0.55, ... 0.95.

    Examples
    --------
    >>> average_precision(np.array([0.6, 0.9], np.float32), 2, 2, thresholds=(0.5, 0.75))
    0.6666666666666666
    """
    if n_truth + n_predicted == 0:
        return 1.0
    hits = [int(np.count_nonzero(iou > threshold)) for threshold in thresholds]
    return math.fsum(tp / (n_truth + n_predicted - tp) for tp in hits) / len(hits)


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

    Examples
    --------
    >>> halves = np.array([50.0, 50.0])  # one object of the truth in two pieces
    >>> variation_of_information(halves, np.array([100.0, 100.0]), halves)
    (1.0, 0.0)
    """
    total = joint.sum()
    if total == 0:
        return 0.0, 0.0
    weight = joint / total
    split = float(-(weight * np.log2(joint / truth)).sum())
    merge = float(-(weight * np.log2(joint / prediction)).sum())
    return abs(split), abs(merge)  # -0.0 where they agree


def adapted_rand_error(joint: FloatArray, truth: FloatArray, prediction: FloatArray) -> float:
    """Return 1 - F of precision and recall over pairs of voxels, over the truth's foreground.

    As Arganda-Carreras et al., Frontiers in Neuroanatomy 9, 2015, define it: the two voxels of a pair are drawn
    independently, so a voxel is a pair with itself. scikit-image leaves such pairs out, which makes its error larger
    by about one over the size of a segment in voxels.

    Parameters
    ----------
    joint, truth, prediction : float arrays
        Voxels per pair of segments, per truth segment, and per predicted segment.

    Examples
    --------
    >>> halves = np.array([50.0, 50.0])  # one object of the truth in two pieces
    >>> round(adapted_rand_error(halves, np.array([100.0]), halves), 3)
    0.333
    """
    pairs, of_truth, of_prediction = (float((values**2).sum()) for values in (joint, truth, prediction))
    if of_truth + of_prediction == 0:
        return 0.0
    return 1.0 - 2 * pairs / (of_truth + of_prediction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contingency:
    """Voxels of the truth's foreground by pairs of segments, the prediction's background being one of them.

    Attributes
    ----------
    joint : float array
        Voxels per pair.
    truth, prediction : int64 arrays
        Segments of each pair.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 5]]]), np.array([[[1, 1, 2, 2]]]), (8, 8, 8))
    >>> Contingency.of(pair.overlaps(1000), pair.truth).information()  # split into halves: one bit
    (1.0, 0.0)
    """

    joint: FloatArray
    truth: IntArray
    prediction: IntArray

    @classmethod
    def of(cls, overlaps: Overlaps, truth: Instances) -> Contingency:
        """Complete an overlap table by what the prediction leaves uncovered."""
        uncovered = truth.size - np.bincount(overlaps.truth, overlaps.voxels, minlength=truth.count + 1)
        left = np.flatnonzero(uncovered)
        return cls(
            joint=np.concatenate([overlaps.voxels.astype(np.float64), uncovered[left]]),
            truth=np.concatenate([overlaps.truth, left]),
            prediction=np.concatenate([overlaps.prediction, np.zeros(len(left), np.int64)]),
        )

    @property
    def truth_sizes(self) -> FloatArray:
        """Voxels per truth segment."""
        return np.bincount(self.truth, self.joint).astype(np.float64)

    @property
    def prediction_sizes(self) -> FloatArray:
        """Voxels per predicted segment."""
        return np.bincount(self.prediction, self.joint).astype(np.float64)

    def information(self) -> tuple[float, float]:
        """Return the split and merge parts of the variation of information."""
        of_truth, of_prediction = self.truth_sizes, self.prediction_sizes
        return variation_of_information(self.joint, of_truth[self.truth], of_prediction[self.prediction])


def instance_details(pair: InstancePair, matched: Matched, metrics: Sequence[str]) -> dict[str, float]:
    """Work out further metrics of instances; `matched` are the pairs.

    Examples
    --------
    >>> from csc_eval.instances.matching import match_overlaps
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 0, 0]]]), (8, 8, 8))
    >>> instance_details(pair, match_overlaps(pair.overlaps(1000)), ["precision", "recall"])
    {'precision': 1.0, 'recall': 0.5}
    """
    truth, prediction = pair.truth, pair.prediction
    overlaps = pair.overlaps(2**31)
    table = Contingency.of(overlaps, truth)
    tp = len(matched.truth)
    common, of_truth, of_prediction = (int(v.sum()) for v in (overlaps.voxels, truth.size, prediction.size))
    good = overlaps.iou[overlaps.iou > 0.5]
    instances = truth.count + prediction.count
    available: dict[str, Callable[[], float]] = {
        "dice": lambda: dice(common, of_prediction - common, of_truth - common),
        "precision": lambda: precision(tp, prediction.count - tp),
        "recall": lambda: recall(tp, truth.count - tp),
        "pq": lambda: 2 * math.fsum(good.tolist()) / instances if instances else 1.0,
        "ap": lambda: average_precision(overlaps.iou, truth.count, prediction.count),
        "vi_split": lambda: table.information()[0],
        "vi_merge": lambda: table.information()[1],
        "adapted_rand_error": lambda: adapted_rand_error(table.joint, table.truth_sizes, table.prediction_sizes),
    }
    result = {name: available[name]() for name in metrics if name in available}
    surfaces = [name for name in metrics if name not in available]
    if surfaces:
        from csc_eval.instances.surfaces import surface_details

        result |= surface_details(pair, matched, surfaces)
    return result


def semantic_details(tp: int, fp: int, fn: int, n_voxels: int, metrics: Sequence[str]) -> dict[str, float]:
    """Work out further metrics of a semantic mask from its voxel counts.

    Examples
    --------
    >>> semantic_details(tp=8, fp=2, fn=2, n_voxels=100, metrics=["dice", "precision"])
    {'dice': 0.8, 'precision': 0.8}
    """
    values = {"dice": dice(tp, fp, fn), "precision": precision(tp, fp), "recall": recall(tp, fn)}
    return {name: values[name] for name in metrics}
