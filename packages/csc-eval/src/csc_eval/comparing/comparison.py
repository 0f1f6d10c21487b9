"""Results side by side: differences with intervals, and how stable their ranking is.

All results are resampled alike, a paired bootstrap over crops: what makes a crop hard is in both sides of a difference.
Rankings are judged as Wiesenfarth et al. do it for medical challenges (Methods and open-source toolkit for analyzing
and visualizing challenge results, Scientific Reports 11, 2021): by the ranks that resamples give, and by Kendall's tau
between their ranking and that of all crops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from csc_data.errors import InvalidArgumentError
from csc_eval.scoring.bootstrap import RESAMPLES, FloatArray, Interval, draw_crops, interval_of, resample_scores
from csc_eval.scoring.results import SubmissionScore

SMALLEST = 1e-12
"""Scores that are nearer than this are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDifference:
    """How much one result is ahead of another.

    Attributes
    ----------
    one, other : str
    difference : float
        Score of the one minus that of the other.
    interval : Interval
        Of the difference over resamples; NaN where there is one crop only.
    ahead : float
        The share of resamples in which the one is ahead; where both are equal, half of it counts. NaN for one crop.
    """

    one: str
    other: str
    difference: float
    interval: Interval
    ahead: float

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval does not hold 0."""
        return self.interval.low > SMALLEST or self.interval.high < -SMALLEST


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassComparison:
    """One class, or the whole, of all results.

    Attributes
    ----------
    name : str
    scores : mapping of str to float
        By result.
    crops : int
        How many crops have it.
    pairs : tuple of PairDifference
        Every pair of results once, the one with the better overall score first.
    quirks : mapping of str to str
        Results whose score says nothing of the voxels, with the rule that gave it.
    """

    name: str
    scores: Mapping[str, float]
    crops: int
    pairs: tuple[PairDifference, ...]
    quirks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The place of a result in the ranking.

    Attributes
    ----------
    name : str
    score : float
    interval : Interval
        Of its score.
    rank : int
        From 1; equal scores share one.
    ranks : tuple of int
        Between which ranks 95 % of the resamples put it.
    shares : tuple of float
        The share of resamples that put it on rank 1, 2, ...
    """

    name: str
    score: float
    interval: Interval
    rank: int
    ranks: tuple[int, int]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Results side by side.

    Attributes
    ----------
    rules : str
    overall : ClassComparison
        Of the overall score; of the instance or semantic score where there are classes of one kind only.
    classes : tuple of ClassComparison
    standings : tuple of Standing
        The best first.
    tau : float
        Mean over resamples of Kendall's tau between their ranking and that of all crops: 1 where none changes it.
    resamples : int
    """

    rules: str
    overall: ClassComparison
    classes: tuple[ClassComparison, ...]
    standings: tuple[Standing, ...]
    tau: float
    resamples: int

    @property
    def not_told_apart(self) -> tuple[tuple[int, int], ...]:
        """Pairs of places of the ranking, from 1, that the crops do not tell apart."""
        place = {standing.name: number for number, standing in enumerate(self.standings, start=1)}
        return tuple((place[p.one], place[p.other]) for p in self.overall.pairs if not p.is_told_apart)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def compare_results(results: Mapping[str, SubmissionScore], *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare results of the same truth under the same rules.

    Parameters
    ----------
    results : mapping of str to SubmissionScore
        At least two, by name.
    resamples : int
        How often crops are drawn.
    seed : int
        The same seed gives the same numbers.

    Raises
    ------
    InvalidArgumentError
        If there are less than two, or they are not of the same labels and rules.

    Examples
    --------
    >>> compare_results({"a": a, "b": b}).overall.pairs[0].ahead  # doctest: +SKIP
    0.93
    """
    _check_alike(results)
    first = next(iter(results.values()))
    drawn = draw_crops(len(first.crops), resamples, seed)
    found = {name: resample_scores(_in_order(result, first), drawn) for name, result in results.items()}
    kind = next(iter(found.values())).overall_kind
    key = "overall_score" if kind == "overall" else f"overall_{kind}_score"
    whole = {name: float(getattr(result.combined, key)) for name, result in results.items()}
    order = sorted(results, key=lambda name: -whole[name])  # stable: equal ones stay as they were given
    scattered = {name: found[name].overall for name in order}
    classes = []
    for name in first.combined.classes:
        pooled = {each: results[each].combined.classes[name] for each in order}
        scores = {each: one.score for each, one in pooled.items()}
        resampled = {each: found[each].classes[name] for each in order}
        compared = _compare(name, scores, resampled, found[order[0]].crops[name])
        classes.append(replace(compared, quirks={each: one.quirk for each, one in pooled.items() if one.quirk}))
    return Comparison(
        rules=first.rules,
        overall=_compare(kind, {name: whole[name] for name in order}, scattered, len(first.crops)),
        classes=tuple(classes),
        standings=_standings({name: whole[name] for name in order}, scattered, len(first.crops)),
        tau=_stability([whole[name] for name in order], np.stack(list(scattered.values()))),
        resamples=resamples,
    )


def _check_alike(results: Mapping[str, SubmissionScore]) -> None:
    if len(results) < 2:
        raise InvalidArgumentError("one result cannot be compared; name two or more")
    (first_name, first), *others = results.items()
    labels = _labels(first)
    for name, result in others:
        if result.rules != first.rules:
            raise InvalidArgumentError(
                f"{first_name} was scored by the rules {first.rules}, {name} by {result.rules}: score both alike"
            )
        own = _labels(result)
        if own != labels:
            alone = sorted(labels ^ own)
            holder = first_name if alone[0] in labels else name
            raise InvalidArgumentError(
                f"{first_name} and {name} are results of different truths: {'/'.join(alone[0])} is in {holder} alone, "
                f"one of {len(alone)} such labels; score both against the same truth"
            )


def _labels(result: SubmissionScore) -> set[tuple[str, str]]:
    return {(crop, name) for crop, labels in result.crops.items() for name in labels}


def _in_order(result: SubmissionScore, first: SubmissionScore) -> dict[str, Any]:
    """Return the crops of a result in the order of the first one's, as they are drawn by their number."""
    return {crop: result.crops[crop] for crop in first.crops}


def _compare(
    name: str, scores: Mapping[str, float], scattered: Mapping[str, FloatArray], crops: int
) -> ClassComparison:
    pairs = []
    for one, other in itertools.combinations(scores, 2):
        gaps = scattered[one] - scattered[other]
        known = gaps[~np.isnan(gaps)]
        ahead = np.mean(known > SMALLEST) + np.mean(np.abs(known) <= SMALLEST) / 2
        several = crops > 1  # one crop says nothing of others
        pairs.append(
            PairDifference(
                one=one,
                other=other,
                difference=scores[one] - scores[other],
                interval=interval_of(known, crops) if several else Interval(low=math.nan, high=math.nan, crops=crops),
                ahead=float(ahead) if several else math.nan,
            )
        )
    return ClassComparison(name=name, scores=dict(scores), crops=crops, pairs=tuple(pairs))


def _ranks(scores: FloatArray) -> FloatArray:
    """Return the rank of each row in each column: 1 and how many are better."""
    better = scores[None, :, :] > scores[:, None, :] + SMALLEST
    ranks: FloatArray = 1.0 + better.sum(1)
    return ranks


def _standings(scores: Mapping[str, float], scattered: Mapping[str, FloatArray], crops: int) -> tuple[Standing, ...]:
    values = np.stack(list(scattered.values()))
    values = values[:, ~np.isnan(values).any(0)]  # the same labels are drawn of all
    ranks, own = _ranks(values), _ranks(np.array(list(scores.values()))[:, None])[:, 0]
    places = range(1, len(scores) + 1)
    return tuple(
        Standing(
            name=name,
            score=scores[name],
            interval=interval_of(values[number], crops),
            rank=int(own[number]),
            ranks=_rank_interval(ranks[number]),
            shares=tuple(float(np.mean(ranks[number] == place)) for place in places),
        )
        for number, name in enumerate(scores)
    )


def _rank_interval(ranks: FloatArray) -> tuple[int, int]:
    low, high = np.percentile(ranks, (2.5, 97.5), method="nearest")
    return int(low), int(high)


def _stability(scores: Sequence[float], scattered: FloatArray) -> float:
    """Return the mean of Kendall's tau between the order of scores and that of each resample; ties count as neither."""
    taus = []
    for one, other in itertools.combinations(range(len(scores)), 2):
        whole, drawn = scores[one] - scores[other], scattered[one] - scattered[other]
        signs = np.where(np.abs(drawn) > SMALLEST, np.sign(drawn), 0)
        taus.append((np.sign(whole) if abs(whole) > SMALLEST else 0.0) * signs[~np.isnan(drawn)])
    return float(np.mean(np.stack(taus)))
