"""Scores of arrays in memory: truth and prediction on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.errors import CscError
from csc_eval.instances.components import IntArray, label_components, label_ids
from csc_eval.instances.pair import InstancePair
from csc_eval.rules import LEADERBOARD, Rules, get_rules
from csc_eval.scoring.metrics import parse_metrics
from csc_eval.scoring.pairs import (
    count_semantic,
    describe,
    find_matching,
    pair_ious,
    score_instance_pair,
    semantic_label_score,
)
from csc_eval.scoring.results import LabelScore
from csc_eval.voxels.arrays import MemoryArray, as_lengths, as_pair
from csc_eval.voxels.runs import encode_runs


def pair_volumes(truth: npt.ArrayLike, prediction: npt.ArrayLike, voxel_size: Sequence[float]) -> InstancePair:
    """Find the instances of a truth and of a prediction.

    Raises
    ------
    InvalidArgumentError
        If they are not volumes of numbers of one shape, or the voxel size is not three lengths.

    Examples
    --------
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 0, 0]]]), (8, 8, 8))
    >>> pair.truth.count, pair.prediction.count
    (2, 1)
    """
    lengths = as_lengths(voxel_size)
    t, p = as_pair(truth, prediction)
    return InstancePair(
        truth=label_ids(encode_runs(MemoryArray(t))),
        prediction=label_components(encode_runs(MemoryArray(p))),
        voxel_size=lengths,
    )


def score_instances(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    rules: str | Rules = LEADERBOARD,
    metrics: Iterable[str] = (),
) -> LabelScore:
    """Score instance labels against the truth, both on one grid.

    Parameters
    ----------
    truth : integer array, (z, y, x)
        Instance ids, used as they are; 0 is background.
    prediction : array, (z, y, x)
        Labels of any dtype; they are split into 26-connected components of equal values.
    voxel_size : sequence of float
        nm, z, y, x.
    rules : str or Rules
        What holds where ways of scoring differ.
    metrics : iterable of str
        Further metrics to work out, see `csc_eval.METRICS`.

    Raises
    ------
    InvalidArgumentError
        If they are not volumes of numbers of one shape, or the voxel size is not three lengths.

    Examples
    --------
    >>> volume = np.array([[[1, 1, 0, 2, 2]]])
    >>> score = score_instances(volume, volume, (8, 8, 8))
    >>> score.tp, score.fp, score.fn, score.score
    (2, 0, 0, 1.0)
    """
    pair = pair_volumes(truth, prediction, voxel_size)
    score = score_instance_pair(pair, get_rules(rules), parse_metrics(metrics, instance=True))
    return describe(score, pair.truth.runs.shape, pair.voxel_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """A one-to-one matching of instances.

    Attributes
    ----------
    truth : int64 array
        Ids of the matched truth instances, ascending.
    prediction : int64 array
        Numbers of the components that they are matched with, see `csc_eval.connected_components`.
    iou : float64 array
        Intersection over union of each pair.
    unmatched_truth : int64 array
        Ids of the truth that have no partner.
    unmatched_prediction : int64 array
        Numbers of the components that have none.
    """

    truth: IntArray
    prediction: IntArray
    iou: npt.NDArray[np.float64]
    unmatched_truth: IntArray
    unmatched_prediction: IntArray

    def to_dict(self) -> dict[int, int]:
        """Return component number to truth id.

        Examples
        --------
        >>> from csc_eval import match_instances
        >>> matching = match_instances(np.array([[[5, 5, 0, 7]]]), np.array([[[1, 1, 0, 2]]]), voxel_size=(8, 8, 8))
        >>> matching.to_dict()
        {1: 5, 2: 7}
        """
        return dict(zip(self.prediction.tolist(), self.truth.tolist(), strict=True))


class TooManyInstancesError(CscError, ValueError):
    """So many instances were predicted that the rules match none of them."""


def match_instances(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
    rules: str | Rules = LEADERBOARD,
) -> Matching:
    """Match the components of a prediction one to one to the instances of a truth.

    Parameters
    ----------
    truth : integer array, (z, y, x)
        Instance ids; 0 is background.
    prediction : array, (z, y, x)
        Labels of any dtype; they are split into 26-connected components of equal values.
    voxel_size : sequence of float
        nm, z, y, x; tells ties apart under rules that do.
    rules : str or Rules
        What holds where ways of matching differ.

    Raises
    ------
    InvalidArgumentError
        If they are not volumes of numbers of one shape, or the voxel size is not three lengths.
    TooManyInstancesError
        If the rules refuse to match so many.

    Examples
    --------
    >>> truth = np.array([[[5, 5, 0, 9, 9]]])
    >>> match_instances(truth, np.array([[[0, 1, 0, 1, 1]]])).to_dict()
    {1: 5, 2: 9}
    """
    pair = pair_volumes(truth, prediction, voxel_size)
    matched = find_matching(pair, get_rules(rules))
    if matched is None:
        raise TooManyInstancesError(
            f"{pair.prediction.count} components for a truth whose largest id is {pair.truth.largest_id}: "
            "the rules match none of them"
        )
    ids = pair.truth.ids[matched.truth]
    order = np.argsort(ids)
    return Matching(
        truth=ids[order],
        prediction=matched.prediction[order],
        iou=np.array(pair_ious(pair, matched), np.float64)[order],
        unmatched_truth=np.setdiff1d(pair.truth.ids[1:], ids),
        unmatched_prediction=np.setdiff1d(pair.prediction.ids[1:], matched.prediction),
    )


def score_semantic(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    voxel_size: Sequence[float] = (),
    rules: str | Rules = LEADERBOARD,
    metrics: Iterable[str] = (),
) -> LabelScore:
    """Score a semantic mask against the truth, both on one grid; foreground is > 0.

    Raises
    ------
    InvalidArgumentError
        If they are not volumes of numbers of one shape, or the voxel size is not three lengths.

    Examples
    --------
    >>> score_semantic(np.array([[[1, 1, 0]]]), np.array([[[0, 1, 1]]])).score
    0.3333333333333333
    """
    t, p = as_pair(truth, prediction)
    lengths = as_lengths(voxel_size) if len(voxel_size) else ()
    counts = count_semantic(MemoryArray(t), MemoryArray(p))
    score = semantic_label_score(counts, t.size, get_rules(rules), parse_metrics(metrics, instance=False))
    return describe(score, t.shape, lengths)
