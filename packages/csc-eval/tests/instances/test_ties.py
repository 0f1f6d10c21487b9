"""Where several matchings are equally good, the leaderboard's number is that of the portal's solver."""

import itertools
import sys

import numpy as np
import pytest

import csc_eval
from csc_eval.instances.components import Overlaps, find_overlaps, label_components, label_ids
from csc_eval.instances.matching import UNMATCHED_COST, MatchingProblem
from csc_eval.instances.ties import MAX_ARCS, has_other_optimum, match_as_portal
from csc_eval.voxels.arrays import MemoryArray
from csc_eval.voxels.runs import encode_runs


def tie_heavy(seed, shape=(6, 7, 8)):
    """Truth and prediction of small objects that overlap several others by as many voxels."""
    rng = np.random.default_rng(seed)
    length, size = int(rng.choice([2, 4, 6])), int(np.prod(shape))
    pieces = np.arange(1, size // length + 2).repeat(length)[:size]
    truth, prediction = pieces, np.roll(pieces, length // 2)  # each lies half in one and half in the next
    truth, prediction = (np.where(rng.random(size // 2).repeat(2) < 0.2, 0, line) for line in (truth, prediction))
    # Ids that no voxel has are nodes of the portal's graph, too.
    ids = rng.permutation(int(truth.max() * rng.choice([1, 1, 2]))) + 1
    truth = np.where(truth, ids[truth - 1], 0)
    return truth.reshape(shape).astype(np.int64), prediction.reshape(shape).astype(np.int64)


def instances(truth, prediction):
    return label_ids(encode_runs(MemoryArray(truth))), label_components(encode_runs(MemoryArray(prediction)))


def all_optima(problem):
    """Every optimal choice, by trying all."""
    choices = [[None, *np.flatnonzero(problem.rows == row)] for row in range(len(problem.unmatched))]
    best, found = None, []
    for picks in itertools.product(*choices):
        taken = [problem.columns[pick] for pick in picks if pick is not None]
        if len(set(taken)) < len(taken):
            continue
        cost = sum(UNMATCHED_COST if pick is None else int(problem.cost[pick]) for pick in picks)
        if best is None or cost < best:
            best, found = cost, []
        found += [picks] if cost == best else []
    return found


@pytest.mark.parametrize("seed", range(150))
def test_other_optima_are_found_where_there_are_some(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 5, 2)
    pairs = np.argwhere(rng.random((n, m)) < 0.7)
    if not len(pairs):
        return
    iou = rng.choice([0.2, 0.25, 0.5, 1e-6, 0.75], len(pairs)).astype(np.float32)
    overlaps = Overlaps(truth=pairs[:, 0] + 1, prediction=pairs[:, 1] + 1, voxels=np.ones(len(pairs)), iou=iou)
    problem = MatchingProblem.of(overlaps)
    best = problem.solve()
    optima = all_optima(problem)
    assert tuple(None if edge < 0 else edge for edge in best.edge) in optima
    assert has_other_optimum(problem, best) == (len(optima) > 1)


def portal(truth, components, n_predicted):
    """The official graph, built as the official code builds it, an arc at a time."""
    from ortools.graph.python import min_cost_flow

    n_truth = int(truth.max())
    both = (truth > 0) & (components > 0)
    keys, counts = np.unique((truth[both] - 1) * n_predicted + components[both] - 1, return_counts=True)
    solver = min_cost_flow.SimpleMinCostFlow()
    sink = 1 + n_truth + n_predicted
    for i in range(n_truth):
        solver.add_arc_with_capacity_and_unit_cost(0, 1 + i, 1, 0)
    for i in range(n_truth):
        solver.add_arc_with_capacity_and_unit_cost(1 + i, sink, 1, UNMATCHED_COST)
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        row, column = divmod(key, n_predicted)
        union = (truth == row + 1).sum() + (components == column + 1).sum() - count
        cost = int((1.0 - float(np.float32(count / union))) * 1_000_000)
        solver.add_arc_with_capacity_and_unit_cost(1 + row, 1 + n_truth + column, 1, cost)
    for j in range(n_predicted):
        solver.add_arc_with_capacity_and_unit_cost(1 + n_truth + j, sink, 1, 0)
    solver.set_node_supply(0, n_truth)
    solver.set_node_supply(sink, -n_truth)
    assert solver.solve() == solver.OPTIMAL
    arcs = range(2 * n_truth, 2 * n_truth + len(keys))
    return {(solver.tail(a), solver.head(a) - n_truth) for a in arcs if solver.flow(a)}


@pytest.mark.parametrize("part", range(5))
def test_the_choice_is_the_portals(part):
    pytest.importorskip("ortools.graph.python.min_cost_flow")
    several = 0
    for seed in range(40 * part, 40 * part + 40):
        values = tie_heavy(seed)
        truth, prediction = instances(*values)
        labels, count = csc_eval.connected_components(values[1])
        if not count or not values[0].max():
            continue
        found = match_as_portal(find_overlaps(truth, prediction), truth, prediction)
        assert found.certain
        ours = set(zip(truth.ids[found.truth].tolist(), found.prediction.tolist(), strict=True))
        assert ours == portal(values[0], labels, count), seed
        problem = MatchingProblem.of(find_overlaps(truth, prediction))
        several += has_other_optimum(problem, problem.solve())
    assert several > 15


@pytest.fixture
def _no_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.graph.python", None)


@pytest.mark.usefixtures("_no_solver")
def test_without_the_solver_a_tie_is_said():
    tie = np.array([[[1, 1, 2, 2]]]), np.array([[[0, 1, 1, 0]]])
    score = csc_eval.score_instances(*tie, (8, 8, 8))
    assert "the portal's solver takes one of them" in score.portal_differs
    assert csc_eval.score_instances(*tie, (8, 8, 8), rules="definition-2026-06").portal_differs == ""
    clear = np.array([[[1, 1, 2, 2]]]), np.array([[[1, 1, 1, 0]]])
    assert csc_eval.score_instances(*clear, (8, 8, 8)).portal_differs == ""


def test_ids_beyond_the_solvers_reach_are_said():
    huge = np.array([[[1, 1, MAX_ARCS, MAX_ARCS]]])
    score = csc_eval.score_instances(huge, np.array([[[0, 1, 1, 0]]]), (8, 8, 8))
    assert score.tp == 1
    assert score.portal_differs


def test_the_solver_is_not_imported_where_there_is_one_optimum(monkeypatch):
    def fail(*_):
        raise AssertionError("asked")

    monkeypatch.setattr("csc_eval.instances.ties._ask_solver", fail)
    rng, scored = np.random.default_rng(0), 0
    for _ in range(20):
        truth, prediction = (rng.integers(0, 3, (3, 4, 5)).repeat(3, 2) for _ in range(2))
        problem = MatchingProblem.of(find_overlaps(*instances(truth, prediction)))
        if len(problem.rows) and not has_other_optimum(problem, problem.solve()):
            scored += csc_eval.score_instances(truth, prediction, (8, 8, 8)).portal_differs == ""
    assert scored > 3
