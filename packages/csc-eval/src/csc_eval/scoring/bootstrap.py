"""How far scores would be scattered with other crops: intervals by bootstrap over crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_eval.scoring.results import LabelScore

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 2000
_SHARES = (2.5, 97.5)
_FIELDS = ("tp", "fp", "fn", "hausdorff_norm_sum", "n_hausdorff", "iou_sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Between which values 95 % of the resamples lie.

    Attributes
    ----------
    low, high : float
    crops : int
        How many crops were drawn from.
    """

    low: float
    high: float
    crops: int


def score_intervals(
    crops: Mapping[str, Mapping[str, LabelScore]], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Return an interval for each class that several crops have, and as "" that of the overall score.

    As many crops as there are are drawn with replacement, again and again, and pooled as scores are: the percentile
    bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. A resample that has no crop
    of a class says nothing of that class.

    Parameters
    ----------
    crops : mapping
        Crop name to class name to score, as `csc_eval.SubmissionScore.crops`.
    resamples : int
    seed : int
        The same seed gives the same intervals.
    """
    names = sorted({name for labels in crops.values() for name in labels})
    drawn = np.random.default_rng(seed).multinomial(len(crops), np.full(len(crops), 1 / len(crops)), size=resamples)
    found: dict[str, Interval] = {}
    kinds: dict[bool, list[FloatArray]] = {True: [], False: []}
    for name in names:
        own = [(number, labels[name]) for number, labels in enumerate(crops.values()) if name in labels]
        times = drawn[:, [number for number, _ in own]]
        scores = _scores(times, [score for _, score in own])
        kinds[own[0][1].instance].append(scores)
        if len(own) > 1:
            found[name] = _interval(scores, len(own))
    if len(crops) > 1 and kinds[True] and kinds[False]:
        instance, semantic = (_mean(np.stack(scores)) for scores in kinds.values())
        found[""] = _interval(np.sqrt(instance * semantic), len(crops))
    return found


def _scores(times: npt.NDArray[np.int64], labels: list[LabelScore]) -> FloatArray:
    """Return the score of a class in each resample; NaN where none of its crops was drawn."""
    values = np.array([[float(getattr(label, name)) for name in _FIELDS] for label in labels])
    tp, fp, fn, norm_sum, distances, iou_sum = (times @ values).T
    with np.errstate(divide="ignore", invalid="ignore"):
        if labels[0].panoptic:
            scores = np.where(tp + fp + fn > 0, iou_sum / (tp + (fp + fn) / 2), 1.0)
        elif labels[0].instance:
            f1 = np.where(2 * tp + fp + fn > 0, 2 * tp / (2 * tp + fp + fn), 0.0)
            distance = np.where(distances > 0, norm_sum / distances, 0.0)
            scores = np.where((2 * tp + fp + fn == 0) & (distances == 0), 1.0, np.sqrt(f1 * distance))
        else:
            scores = np.where(tp + fp + fn > 0, tp / (tp + fp + fn), 1.0)
    result: FloatArray = np.where(times.sum(1) > 0, scores, np.nan)
    return result


def _mean(scores: FloatArray) -> FloatArray:
    known = ~np.isnan(scores)
    mean: FloatArray = np.where(known, scores, 0).sum(0) / np.maximum(known.sum(0), 1)
    return mean


def _interval(scores: FloatArray, crops: int) -> Interval:
    low, high = np.nanpercentile(scores, _SHARES).tolist()
    return Interval(low=low, high=high, crops=crops)
