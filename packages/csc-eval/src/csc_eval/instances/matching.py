"""One-to-one matching of truth and predicted instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from csc_eval._native import KernelMemoryError, call
from csc_eval.instances.components import Overlaps

IntArray = npt.NDArray[np.int64]

COST_SCALE = 1_000_000
UNMATCHED_COST = COST_SCALE + 1

PairDistance = Callable[[IntArray, IntArray], npt.NDArray[np.float64]]
"""Takes labels of truth and of prediction, pair by pair, and returns their distances in nm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """An optimal assignment of rows to columns, with the potentials that prove it.

    Attributes
    ----------
    edge : int64 array
        Per row the index of the chosen edge, -1 where it stays unmatched.
    u, v : int64 arrays
        Potentials of rows and columns: u + v <= cost on every edge, with equality on every edge of any optimum.
    """

    edge: IntArray
    u: IntArray
    v: IntArray


def assign(rows: IntArray, columns: IntArray, cost: IntArray, unmatched: IntArray, n_columns: int) -> Assignment:
    """Choose edges, at most one per row and per column, of the least sum of costs.

    Parameters
    ----------
    rows, columns : int64 arrays
        The edges, sorted by row.
    cost : int64 array
        Cost of choosing the edge.
    unmatched : int64 array
        Per row the cost of choosing none.
    n_columns : int
        How many columns there are.

    Examples
    --------
    >>> rows, columns = np.array([0, 0, 1]), np.array([0, 1, 0])
    >>> best = assign(rows, columns, np.array([1, 5, 2]), np.array([100, 100]), n_columns=2)
    >>> best.edge.tolist()  # 5 + 2 is less than to leave one out
    [1, 2]
    """
    n_rows = len(unmatched)
    row_ptr = np.searchsorted(rows, np.arange(n_rows + 1)).astype(np.int64)
    matched = np.empty(n_rows, np.int32)
    u, v = np.empty(n_rows, np.int64), np.empty(n_columns, np.int64)
    columns32 = columns.astype(np.int32)
    if call("assign", n_rows, n_columns, row_ptr, columns32, np.ascontiguousarray(cost), unmatched, matched, u, v):
        raise KernelMemoryError("no memory for the matching")
    edge = np.full(n_rows, -1, np.int64)
    chosen = np.flatnonzero(matched[rows] == columns32)
    edge[rows[chosen]] = chosen
    return Assignment(edge=edge, u=u, v=v)


@dataclass(frozen=True, slots=True)
class Matched:
    """Instances that are matched.

    Attributes
    ----------
    truth, prediction : int64 arrays
        Labels of the pairs.
    certain : bool
        Whether it is known that the rules take this matching, and no other that is as good.
    """

    truth: IntArray
    prediction: IntArray
    certain: bool = True


NO_MATCHES = Matched(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingProblem:
    """What is to be matched: instances that overlap, rows those of the truth and columns those of the prediction.

    Attributes
    ----------
    rows, columns : int64 arrays
        The pairs that overlap, sorted by row.
    cost : int64 array
        Of each pair.
    unmatched : int64 array
        Per row the cost of staying alone.
    rows_of, columns_of : int64 arrays
        The labels that rows and columns stand for.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 7]]]), np.array([[[1, 1, 2, 2]]]), (8, 8, 8))
    >>> problem = MatchingProblem.of(pair.overlaps(1000))
    >>> problem.matched(problem.solve()).prediction.tolist()
    [1, 2]
    """

    rows: IntArray
    columns: IntArray
    cost: IntArray
    unmatched: IntArray
    rows_of: IntArray
    columns_of: IntArray

    @classmethod
    def of(cls, overlaps: Overlaps) -> MatchingProblem:
        """Return the official problem: maximise the sum of 1,000,001 - int((1 - IoU) * 1,000,000)."""
        rows, rows_of = _compact(overlaps.truth)
        columns, columns_of = _compact(overlaps.prediction)
        return cls(
            rows=rows,
            columns=columns,
            cost=pair_costs(overlaps.iou),
            unmatched=np.full(len(rows_of), UNMATCHED_COST, np.int64),
            rows_of=rows_of,
            columns_of=columns_of,
        )

    def solve(self) -> Assignment:
        """Choose pairs of the least sum of costs."""
        return assign(self.rows, self.columns, self.cost, self.unmatched, len(self.columns_of))

    def matched(self, best: Assignment) -> Matched:
        """Return the pairs that were chosen."""
        chosen = best.edge[best.edge >= 0]
        return Matched(self.rows_of[self.rows[chosen]], self.columns_of[self.columns[chosen]])


def pair_costs(iou: npt.NDArray[np.float32]) -> IntArray:
    """Return the integer cost of each pair: int((1 - IoU) * 1,000,000), IoU in float32, the rest in float64.

    Examples
    --------
    >>> pair_costs(np.array([1.0, 0.5], np.float32)).tolist()
    [0, 500000]
    """
    return ((1.0 - iou.astype(np.float64)) * COST_SCALE).astype(np.int64)


def match_overlaps(overlaps: Overlaps, tie_breakers: tuple[PairDistance, ...] = ()) -> Matched:
    """Match instances that overlap, maximising the sum of 1,000,001 - int((1 - IoU) * 1,000,000).

    Parameters
    ----------
    overlaps : Overlaps
        The overlap table.
    tie_breakers : tuple of callables
        Where several matchings are optimal, those of the least sum of the first distance are kept, of them those of
        the least sum of the second, and so on.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 7]]]), np.array([[[1, 1, 2, 2]]]), (8, 8, 8))
    >>> matched = match_overlaps(pair.overlaps(1000))
    >>> matched.truth.tolist(), matched.prediction.tolist()
    ([1, 2], [1, 2])
    """
    problem = MatchingProblem.of(overlaps)
    best = problem.solve()
    for distance in tie_breakers:
        rows, columns, unmatched = problem.rows, problem.columns, problem.unmatched
        tight = problem.cost == best.u[rows] + best.v[columns]
        must_row, must_column = best.u < unmatched, best.v < 0
        rows, columns = rows[tight], columns[tight]
        open_choice = _shares_an_end(rows, columns, len(unmatched), len(must_column))
        # An optimum consists of tight edges, and covers what has a potential other than that of being left out.
        cost = np.zeros(len(rows), np.int64)
        at = problem.rows_of[rows[open_choice]], problem.columns_of[columns[open_choice]]
        cost[open_choice] = _quantise(distance(*at))
        bonus = (int(cost.max(initial=0)) + 1) * (np.count_nonzero(open_choice) + 1)
        cost -= np.where(must_column[columns], bonus, 0)
        unmatched = np.where(must_row, 4 * bonus, 0).astype(np.int64)
        problem = replace(problem, rows=rows, columns=columns, cost=cost, unmatched=unmatched)
        best = problem.solve()
        if not open_choice.any():
            break
    return problem.matched(best)


def _compact(labels: IntArray) -> tuple[IntArray, IntArray]:
    values, index = np.unique(labels, return_inverse=True)
    return index.reshape(-1), values


def _quantise(distance: npt.NDArray[np.float64]) -> IntArray:
    largest = float(distance.max(initial=0.0))
    if largest == 0:
        return np.zeros(len(distance), np.int64)
    return np.rint(distance / largest * 2**30).astype(np.int64)


def _shares_an_end(rows: IntArray, columns: IntArray, n_rows: int, n_columns: int) -> npt.NDArray[np.bool_]:
    """Tell which edges share a row or a column with another edge: only they are a matter of choice."""
    return (np.bincount(rows, minlength=n_rows)[rows] > 1) | (np.bincount(columns, minlength=n_columns)[columns] > 1)
