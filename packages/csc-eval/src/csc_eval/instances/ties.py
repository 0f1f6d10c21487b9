"""The portal's choice where several matchings are equally good: the one that its solver, OR-tools, comes to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from csc_eval.instances.components import Instances, IntArray, Overlaps
from csc_eval.instances.matching import UNMATCHED_COST, Assignment, Matched, MatchingProblem, pair_costs

MAX_ARCS = 4_000_000
"""Arcs that are handed to the solver at most: it takes about 100 bytes for each."""


def match_as_portal(overlaps: Overlaps, truth: Instances, prediction: Instances) -> Matched:
    """Match instances as the portal does; see `csc_eval.instances.matching.match_overlaps` for what is optimal.

    OR-tools (``csc-eval[portal]``) is imported only where there are several optima. Without it, and of problems beyond
    its reach, any of them is returned.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 7]]]), np.array([[[1, 1, 2, 2]]]), (8, 8, 8))
    >>> match_as_portal(pair.overlaps(1000), pair.truth, pair.prediction).truth.tolist()
    [1, 2]
    """
    problem = MatchingProblem.of(overlaps)
    best = problem.solve()
    if has_other_optimum(problem, best):
        return _ask_solver(overlaps, truth, prediction) or replace(problem.matched(best), certain=False)
    return problem.matched(best)


def has_other_optimum(problem: MatchingProblem, best: Assignment) -> bool:
    """Tell whether another matching has the same sum of costs.

    It has exactly if the residual graph has a cycle of tight arcs: those of reduced cost 0 under the potentials that
    prove the optimum. Nodes are rows, columns, and a sink that takes rows that stay alone and columns that are taken.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 5]]]), np.array([[[1, 1, 2, 2]]]), (8, 8, 8))
    >>> problem = MatchingProblem.of(pair.overlaps(1000))
    >>> has_other_optimum(problem, problem.solve())  # either half overlaps as much
    True
    """
    rows, columns = problem.rows, problem.columns
    chosen = np.zeros(len(rows), bool)
    chosen[best.edge[best.edge >= 0]] = True
    loose = (problem.cost == best.u[rows] + best.v[columns]) & ~chosen
    if not loose.any():
        return False  # every cycle has such an arc
    n_rows, n_columns = len(problem.unmatched), len(problem.columns_of)
    sink = n_rows + n_columns
    matched_row, free_row = best.edge >= 0, best.u == problem.unmatched
    matched_column, free_column = np.zeros(n_columns, bool), best.v == 0
    matched_column[columns[chosen]] = True
    tails, heads = zip(
        (rows[loose], n_rows + columns[loose]),
        (n_rows + columns[chosen], rows[chosen]),
        _to(sink, np.flatnonzero(matched_row & free_row)),
        _from(sink, np.flatnonzero(~matched_row)),
        _to(sink, n_rows + np.flatnonzero(~matched_column)),
        _from(sink, n_rows + np.flatnonzero(matched_column & free_column)),
        strict=True,
    )
    return _has_cycle(np.concatenate(tails), np.concatenate(heads), sink + 1)


def _to(sink: int, nodes: IntArray) -> tuple[IntArray, IntArray]:
    return nodes, np.full_like(nodes, sink)


def _from(sink: int, nodes: IntArray) -> tuple[IntArray, IntArray]:
    return np.full_like(nodes, sink), nodes


def _has_cycle(tails: IntArray, heads: IntArray, n_nodes: int) -> bool:
    """Tell whether arcs are left once those into dead ends and out of nowhere are taken away, again and again."""
    while len(tails):
        entered = np.zeros(n_nodes, bool)
        entered[heads] = True
        left = np.zeros(n_nodes, bool)
        left[tails] = True
        kept = entered[tails] & left[heads]
        if kept.all():
            return True
        tails, heads = tails[kept], heads[kept]
    return False


def _ask_solver(overlaps: Overlaps, truth: Instances, prediction: Instances) -> Matched | None:
    """Hand the whole graph to the solver, arcs in the portal's order; its choice depends on it.

    Truth ids that no voxel has are nodes, too. None where OR-tools is not installed, or cannot take so many arcs.
    """
    n_truth, n_predicted = truth.largest_id, prediction.count
    if 2 * n_truth + n_predicted + len(overlaps.truth) > MAX_ARCS:
        return None
    try:
        from ortools.graph.python import min_cost_flow
    except ImportError:
        return None
    source, first, sink = 0, 1 + n_truth, 1 + n_truth + n_predicted
    ids = np.arange(1, n_truth + 1)
    components = np.arange(first, sink)
    pairs = (truth.ids[overlaps.truth], first + overlaps.prediction - 1)
    tails = np.concatenate([np.full(n_truth, source), ids, pairs[0], components])
    heads = np.concatenate([ids, np.full(n_truth, sink), pairs[1], np.full(n_predicted, sink)])
    zeros = (np.zeros(n_truth, np.int64), np.zeros(n_predicted, np.int64))
    costs = np.concatenate([zeros[0], np.full(n_truth, UNMATCHED_COST), pair_costs(overlaps.iou), zeros[1]])
    solver = min_cost_flow.SimpleMinCostFlow()
    ones = np.ones(len(tails), np.int64)
    arcs = solver.add_arcs_with_capacity_and_unit_cost(_int32(tails), _int32(heads), ones, costs)
    solver.set_node_supply(source, n_truth)
    solver.set_node_supply(sink, -n_truth)
    if solver.solve() != solver.OPTIMAL:
        return None
    of_pairs = slice(2 * n_truth, 2 * n_truth + len(overlaps.truth))
    taken = solver.flows(arcs)[of_pairs] == 1
    return Matched(overlaps.truth[taken], overlaps.prediction[taken])


def _int32(values: IntArray) -> npt.NDArray[np.int32]:
    return values.astype(np.int32)
