"""Which values to take, and whether to believe in their gain: pure functions of scores.

What is believed is what values gain on crops that they were not chosen on. They are chosen with caution, too: of all
that are about as good as the best, within the error of their difference, those next to the default. Errors come from
the jackknife over folds (Efron and Stein, The Annals of Statistics 9, 1981), as scores are pooled, not averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from csc_eval import LabelScore
from csc_submit.tuning.scores.scoring import pooled
from csc_submit.tuning.space import Parameter, Point

Fold = tuple[str, ...]
"""Names of parts that are left out together."""

MOST_FOLDS = 10


def make_folds(with_class: Sequence[str], without: Sequence[str]) -> tuple[Fold, ...]:
    """Divide parts into folds: each holds one that has the class, or several where there are many.

    >>> make_folds(["a", "b"], ["c", "d", "e"])
    (('a', 'c', 'e'), ('b', 'd'))
    """
    count = min(MOST_FOLDS, len(with_class))
    return tuple((*with_class[n::count], *without[n::count]) for n in range(count))


class ScoreBook:
    """Scores of a class at points, part by part, and pooled over folds.

    Parameters
    ----------
    class_name : str
    parameters : sequence of Parameter
    folds : sequence of Fold
    score : callable
        Returns the scores of all parts at a point.
    """

    def __init__(
        self,
        class_name: str,
        parameters: Sequence[Parameter],
        folds: Sequence[Fold],
        score: Callable[[Point], Mapping[str, LabelScore]],
    ) -> None:
        self.class_name, self.parameters, self.folds = class_name, tuple(parameters), tuple(folds)
        self._score = score
        self._scores: dict[Point, Mapping[str, LabelScore]] = {}
        self._pooled: dict[tuple[Point, tuple[int, ...]], float] = {}

    @property
    def default(self) -> Point:
        """The point of the experiment."""
        return tuple(parameter.default for parameter in self.parameters)

    def __len__(self) -> int:
        return len(self._scores)

    def scores(self, point: Point) -> Mapping[str, LabelScore]:
        """Return the scores of all parts."""
        if point not in self._scores:
            self._scores[point] = self._score(point)
        return self._scores[point]

    def pooled(self, point: Point, folds: tuple[int, ...]) -> float:
        """Return the score over some folds."""
        key = (point, folds)
        if key not in self._pooled:
            scores = self.scores(point)
            self._pooled[key] = pooled(self.class_name, [scores[part] for n in folds for part in self.folds[n]])
        return self._pooled[key]

    def distance(self, point: Point) -> float:
        """Return how far a point is from the default, a step over all values of a parameter counting 1."""
        return sum(
            abs(p.values.index(value) - p.values.index(p.default)) / max(1, len(p.values) - 1)
            for p, value in zip(self.parameters, point, strict=True)
        )


def jackknife(without_one: Sequence[float]) -> float:
    """Return the standard error of a number from its values with one fold left out each; infinite for one fold.

    >>> jackknife([1.5, 2.0, 2.5])
    0.5773502691896257
    """
    count = len(without_one)
    if count < 2:
        return math.inf
    mean = math.fsum(without_one) / count
    return math.sqrt((count - 1) / count * math.fsum((value - mean) ** 2 for value in without_one))


def choose(book: ScoreBook, points: Sequence[Point], folds: tuple[int, ...]) -> Point:
    """Return the point to take by the scores of some folds."""
    best = max(points, key=lambda point: (book.pooled(point, folds), -book.distance(point)))
    rest = [tuple(n for n in folds if n != left_out) for left_out in folds]

    def is_as_good(point: Point) -> bool:
        lacks = book.pooled(best, folds) - book.pooled(point, folds)
        error = jackknife([book.pooled(best, some) - book.pooled(point, some) for some in rest if some])
        return lacks <= (error if math.isfinite(error) else 0.0)

    for point in sorted(points, key=lambda point: (book.distance(point), -book.pooled(point, folds))):
        if point == best or is_as_good(point):
            return point
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What is gained on parts that nothing was chosen on.

    Attributes
    ----------
    mean : float
        Difference of the pooled scores.
    error : float
        Its standard error.
    better : int
        Folds that add to it.
    folds : int

    Examples
    --------
    >>> Gain(mean=0.02, error=0.005, better=4, folds=5).holds(errors=2.0)
    True
    >>> Gain(mean=0.02, error=0.015, better=4, folds=5).holds(errors=2.0)
    False
    """

    mean: float
    error: float
    better: int
    folds: int

    def holds(self, errors: float) -> bool:
        """Whether it is more than so many errors, in most folds."""
        return self.mean > 0 and self.mean > errors * self.error and 2 * self.better > self.folds

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ± {100 * self.error:.1f} points, better in {self.better} of {self.folds} folds"


def held_out_gain(book: ScoreBook, points: Sequence[Point], others: Sequence[Point]) -> Gain:
    """Return what a point for each fold gains over another one for each, scored on that fold."""

    def together(taken: Sequence[Point], folds: Sequence[int]) -> float:
        scores = [book.scores(taken[n])[part] for n in folds for part in book.folds[n]]
        return pooled(book.class_name, scores)

    def difference(folds: Sequence[int]) -> float:
        return together(points, folds) - together(others, folds)

    numbers = range(len(book.folds))
    mean = difference(numbers)
    error = jackknife([difference([n for n in numbers if n != left_out]) for left_out in numbers])
    before = together(others, numbers)
    # What one fold alone adds to the whole: in a crop of which nothing is found fewer wrong voxels count, too.
    better = sum(together([*others[:n], points[n], *others[n + 1 :]], numbers) > before for n in numbers)
    return Gain(mean=mean, error=error, better=better, folds=len(book.folds))
