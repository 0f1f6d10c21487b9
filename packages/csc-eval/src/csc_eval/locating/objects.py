"""Which objects of a pair of instance volumes are wrong, in what way, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Triple
from csc_eval.instances.components import IntArray
from csc_eval.instances.matching import Matched
from csc_eval.instances.pair import InstancePair
from csc_eval.locating.intervals import Intervals
from csc_eval.placing.predictions import CropGrid
from csc_eval.voxels.arrays import Shape

Mask = npt.NDArray[np.bool_]
Kind = Literal["missed", "false", "merged", "split", "inexact", "misses", "false alarms"]

KINDS: Mapping[Kind, str] = {
    "missed": "a true object that no predicted one was matched with",
    "false": "a predicted object that no true one was matched with",
    "merged": "a predicted object in which several true ones mostly lie",
    "split": "a true object in which several predicted ones mostly lie",
    "inexact": "a matched pair whose IoU is at most 0.5",
    "misses": "voxels of a semantic class that were not found",
    "false alarms": "voxels that were taken for a semantic class",
}
"""The ways in which a label can be wrong; the last two are those of semantic classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPlace:
    """Something that is wrong, and where.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    truth : tuple of int
        Ids of the true objects that it concerns, the largest first.
    prediction : tuple of int
        Numbers of the predicted components, see `csc_eval.connected_components`.
    truth_voxels, prediction_voxels : int
        How large they are together.
    wrong_voxels : int
        By which errors are ordered: of the object that is missed or false; of all but the largest of those that were
        merged or split; of what only one of a pair has.
    iou : float
        Of the two among them that fit best, 0 where there is no such pair.
    voxel : tuple of int
        Where to look: a voxel of the object in its plane with most wrong voxels; of merged and split ones the voxel
        nearest to the middle between the two largest.
    place_nm : tuple of float
        Its centre, nm, z, y, x.
    begin, end : tuple of int
        First and last plus one voxel of a box around all of it.
    """

    kind: Kind
    truth: tuple[int, ...] = ()
    prediction: tuple[int, ...] = ()
    truth_voxels: int = 0
    prediction_voxels: int = 0
    wrong_voxels: int
    iou: float = 0.0
    voxel: Shape
    place_nm: Triple
    begin: Shape
    end: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrong:
    """Something that is wrong, by labels; where it lies is looked for when it is among the worst."""

    kind: Kind
    truth: tuple[int, ...] = ()
    prediction: tuple[int, ...] = ()
    voxels: int
    iou: float = 0.0


def object_errors(
    pair: InstancePair, matched: Matched, grid: CropGrid, most: int
) -> tuple[dict[Kind, int], tuple[ErrorPlace, ...]]:
    """Return how many objects are wrong in each way, and where the worst of them lie.

    An object lies mostly in another when more than half of its voxels do. One error is said once: a true object that
    was merged with another is not missed as well, nor a piece of a split one false.

    Parameters
    ----------
    pair : InstancePair
    matched : Matched
    grid : CropGrid
        Where the voxels lie.
    most : int
        How many to look for.
    """
    wrong = sorted(_classify(pair, matched), key=lambda one: (-one.voxels, one.kind, one.truth, one.prediction))
    counts: Counter[Kind] = Counter(one.kind for one in wrong)
    return dict(counts), tuple(_located(pair, one, grid) for one in wrong[:most])


def _classify(pair: InstancePair, matched: Matched) -> Iterator[_Wrong]:
    truth, prediction = pair.truth, pair.prediction
    overlaps = pair.overlaps(2**31)
    t, p, common = overlaps.truth, overlaps.prediction, overlaps.voxels
    merged = _gathered(p, t, 2 * common > truth.size[t], truth.size)
    split = _gathered(t, p, 2 * common > prediction.size[p], prediction.size)
    said_truth, said_prediction = np.zeros(truth.count + 1, bool), np.zeros(prediction.count + 1, bool)
    best = (
        {(int(a), int(b)): float(iou) for a, b, iou in zip(t, p, overlaps.iou, strict=True)} if merged or split else {}
    )
    for host, guests in merged.items():
        said_truth[list(guests)] = said_prediction[host] = True
        iou = max(best[guest, host] for guest in guests)
        yield _Wrong(kind="merged", truth=guests, prediction=(host,), voxels=_rest(truth.size, guests), iou=iou)
    for whole, pieces in split.items():
        said_truth[whole] = said_prediction[list(pieces)] = True
        iou = max(best[whole, piece] for piece in pieces)
        voxels = _rest(prediction.size, pieces)
        yield _Wrong(kind="split", truth=(whole,), prediction=pieces, voxels=voxels, iou=iou)
    found_truth, found_prediction = said_truth.copy(), said_prediction.copy()
    found_truth[matched.truth] = found_prediction[matched.prediction] = True
    for label in (np.flatnonzero(~found_truth[1:]) + 1).tolist():
        yield _Wrong(kind="missed", truth=(label,), voxels=int(truth.size[label]))
    for label in (np.flatnonzero(~found_prediction[1:]) + 1).tolist():
        yield _Wrong(kind="false", prediction=(label,), voxels=int(prediction.size[label]))
    yield from _inexact(pair, matched, said_truth, said_prediction)


def _inexact(pair: InstancePair, matched: Matched, said_truth: Mask, said_prediction: Mask) -> Iterator[_Wrong]:
    overlaps = pair.overlaps(2**31)
    t, p = matched.truth, matched.prediction
    open_pairs = ~(said_truth[t] | said_prediction[p])
    t, p = t[open_pairs], p[open_pairs]
    at = np.searchsorted(overlaps.truth << 32 | overlaps.prediction, t << 32 | p)
    common = overlaps.voxels[at]
    sizes = pair.truth.size[t] + pair.prediction.size[p]
    for number in np.flatnonzero(3 * common <= sizes).tolist():
        iou = float(common[number] / (sizes[number] - common[number]))
        wrong = int(sizes[number] - 2 * common[number])
        yield _Wrong(kind="inexact", truth=(int(t[number]),), prediction=(int(p[number]),), voxels=wrong, iou=iou)


def _gathered(hosts: IntArray, guests: IntArray, mostly: Mask, sizes: IntArray) -> dict[int, tuple[int, ...]]:
    """Return the labels that hold several others, with these, the largest first."""
    found: dict[int, list[int]] = {}
    several = np.bincount(hosts[mostly], minlength=1) > 1
    for host, guest in zip(hosts[mostly].tolist(), guests[mostly].tolist(), strict=True):
        if several[host]:
            found.setdefault(host, []).append(guest)
    return {host: tuple(sorted(held, key=lambda g: (-int(sizes[g]), g))) for host, held in found.items()}


def _rest(sizes: IntArray, labels: Sequence[int]) -> int:
    return int(sizes[list(labels[1:])].sum())


def _located(pair: InstancePair, wrong: _Wrong, grid: CropGrid) -> ErrorPlace:
    sides = (pair.truth, pair.prediction)
    truth, prediction = (
        Intervals.of(instances, labels)
        for instances, labels in zip(sides, (wrong.truth, wrong.prediction), strict=True)
    )
    if wrong.kind == "merged":
        voxel = prediction.nearest(_between(pair, wrong.truth, side=0), grid.voxel_size)
    elif wrong.kind == "split":
        voxel = truth.nearest(_between(pair, wrong.prediction, side=1), grid.voxel_size)
    else:
        per_plane = truth.per_plane() + prediction.per_plane() - 2 * truth.common_per_plane(prediction)
        z = int(np.argmax(per_plane))
        shown = truth.in_plane(z)
        shown = shown if len(shown) else prediction.in_plane(z)
        voxel = shown.nearest(shown.centroid(), grid.voxel_size)
    boxes = [intervals.box() for intervals in (truth, prediction) if len(intervals)]
    return ErrorPlace(
        kind=wrong.kind,
        truth=tuple(int(pair.truth.ids[label]) for label in wrong.truth),
        prediction=wrong.prediction,
        truth_voxels=int(pair.truth.size[list(wrong.truth)].sum()),
        prediction_voxels=int(pair.prediction.size[list(wrong.prediction)].sum()),
        wrong_voxels=wrong.voxels,
        iou=wrong.iou,
        voxel=voxel,
        place_nm=place_of(voxel, grid),
        begin=_three(np.min([begin for begin, _ in boxes], 0)),
        end=_three(np.max([end for _, end in boxes], 0)),
    )


def place_of(voxel: Shape, grid: CropGrid) -> Triple:
    """Return the centre of a voxel in nm.

    Examples
    --------
    >>> from csc_eval.placing.predictions import CropGrid
    >>> place_of((1, 0, 2), CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(100.0, 0.0, 0.0), shape=(10, 10, 10)))
    (108.0, 0.0, 16.0)
    """
    z, y, x = (t + v * n for t, v, n in zip(grid.translation, grid.voxel_size, voxel, strict=True))
    return z, y, x


def _between(pair: InstancePair, labels: Sequence[int], side: int) -> list[float]:
    """Return the middle between the centroids of the two largest of some objects."""
    of = (pair.truth, pair.prediction)[side]
    first, second = (of.sums[label] / of.size[label] for label in labels[:2])
    middle: list[float] = ((first + second) / 2).tolist()
    return middle


def _three(values: IntArray) -> Shape:
    z, y, x = values.tolist()
    return z, y, x
