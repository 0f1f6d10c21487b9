"""How far scores would be scattered with other crops: intervals by bootstrap over crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from csc_eval.scoring.results import LabelScore

FloatArray = npt.NDArray[np.float64]
Crops = Mapping[str, Mapping[str, LabelScore]]
OverallKind = Literal["overall", "instance", "semantic"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Scores of all resamples.

    Attributes
    ----------
    classes : mapping of str to float64 array, (resamples,)
        NaN where none of the class's crops was drawn.
    crops : mapping of str to int
        How many crops have each class.
    overall : float64 array, (resamples,)
        Of what `overall_kind` names, of the classes that were drawn; NaN where there are none of a kind.
    overall_kind : {"overall", "instance", "semantic"}
        What stands for the whole: the overall score, or where there are classes of one kind only, the mean of these.
    """

    classes: Mapping[str, FloatArray]
    crops: Mapping[str, int]
    overall: FloatArray
    overall_kind: OverallKind


def draw_crops(count: int, resamples: int = RESAMPLES, seed: int = 0) -> npt.NDArray[np.int64]:
    """Draw as many crops as there are, with replacement, again and again; return how often each is in each resample.

    Examples
    --------
    >>> drawn = draw_crops(3, resamples=100)
    >>> drawn.shape, set(drawn.sum(axis=1).tolist())
    ((100, 3), {3})
    """
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def resample_scores(crops: Crops, drawn: npt.NDArray[np.int64]) -> Resampled:
    """Return the scores of resamples of crops, pooled as those of a submission are.

    Parameters
    ----------
    crops : mapping
        Crop name to class name to score, as `csc_eval.SubmissionScore.crops`.
    drawn : int array, (resamples, crops)
        How often each crop is in each resample, see `draw_crops`.

    Examples
    --------
    >>> from csc_eval.scoring.results import LabelScore
    >>> crops = {f"crop{n}": {"er": LabelScore(instance=False, tp=tp, fp=10, fn=10)} for n, tp in enumerate((20, 80))}
    >>> resample_scores(crops, np.array([[2, 0], [0, 2]])).classes["er"].tolist()
    [0.5, 0.8]
    """
    classes, counts, kinds = {}, {}, {}
    for name in sorted({name for labels in crops.values() for name in labels}):
        own = [(number, labels[name]) for number, labels in enumerate(crops.values()) if name in labels]
        classes[name] = _scores(drawn[:, [number for number, _ in own]], [score for _, score in own])
        counts[name] = len(own)
        kinds[name] = own[0][1].instance
    means = {
        instance: _mean(np.stack([classes[name] for name in kinds if kinds[name] == instance]))
        for instance in sorted(set(kinds.values()))
    }
    kind: OverallKind
    if len(means) == 2:
        overall, kind = np.sqrt(means[True] * means[False]), "overall"
    else:
        ((instance, overall),) = means.items()
        kind = "instance" if instance else "semantic"
    return Resampled(classes=classes, crops=counts, overall=overall, overall_kind=kind)


def score_intervals(crops: Crops, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
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

    Examples
    --------
    >>> from csc_eval.scoring.results import LabelScore
    >>> crops = {f"crop{n}": {"er": LabelScore(instance=False, tp=tp, fp=10, fn=10)} for n, tp in enumerate((20, 80))}
    >>> interval = score_intervals(crops)["er"]
    >>> interval.low, interval.high, interval.crops
    (0.5, 0.8, 2)
    """
    if not any(crops.values()):
        return {}
    found = resample_scores(crops, draw_crops(len(crops), resamples, seed))
    intervals = {
        name: interval_of(scores, found.crops[name]) for name, scores in found.classes.items() if found.crops[name] > 1
    }
    if len(crops) > 1 and found.overall_kind == "overall":
        intervals[""] = interval_of(found.overall, len(crops))
    return intervals


def interval_of(values: FloatArray, crops: int) -> Interval:
    """Return between which values 95 % of the resamples lie; those that say nothing are left out.

    Examples
    --------
    >>> interval_of(np.linspace(0, 1, 1001), crops=5)
    Interval(low=0.025, high=0.975, crops=5)
    """
    low, high = np.nanpercentile(values, _SHARES).tolist()
    return Interval(low=low, high=high, crops=crops)


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
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.where(known, scores, 0).sum(0) / known.sum(0)
    return mean
