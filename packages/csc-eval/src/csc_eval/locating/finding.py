"""The errors of one label of one crop, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from csc_data.errors import InvalidArgumentError
from csc_eval.instances.components import IntArray, label_components, label_ids, render_planes
from csc_eval.instances.pair import InstancePair
from csc_eval.locating.intervals import Intervals
from csc_eval.locating.objects import ErrorPlace, Kind, object_errors, place_of
from csc_eval.placing.align import align, is_aligned_as_instances
from csc_eval.placing.predictions import CropGrid, open_prediction
from csc_eval.scoring.labels import CACHE_BYTES, LabelTask, Multiplied, open_mask, open_truth
from csc_eval.scoring.pairs import find_matching
from csc_eval.voxels.arrays import Array, VoxelSource
from csc_eval.voxels.boxes import iterate_boxes, take_box
from csc_eval.voxels.runs import encode_runs

MOST = 5
"""So many places are looked for by default."""

_PER_PLANE = tuple[IntArray, IntArray, IntArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelErrors:
    """Where a label is wrong.

    Attributes
    ----------
    task : LabelTask
        Which label; the first of its rules decided what was matched.
    grid : CropGrid
        Where its voxels lie.
    counts : mapping of str to int
        How much is wrong in each way, see `csc_eval.locating.KINDS`: objects, or voxels of a semantic class.
    places : tuple of ErrorPlace
        The worst, first.
    hits, misses, false_alarms : int64 arrays, (z,)
        Voxels of each plane, whichever object they are of.
    too_many : bool
        Whether the rules refuse to match so many objects; none of them is named then.
    """

    task: LabelTask
    grid: CropGrid
    counts: Mapping[Kind, int]
    places: tuple[ErrorPlace, ...]
    hits: IntArray
    misses: IntArray
    false_alarms: IntArray
    too_many: bool = False
    _shown: InstancePair | tuple[VoxelSource, VoxelSource] = field(repr=False)

    @property
    def worst_plane(self) -> int:
        """The plane along z with the most wrong voxels."""
        return int(np.argmax(self.misses + self.false_alarms))

    def read_plane(self, z: int) -> tuple[Array, Array]:
        """Return truth and prediction of a plane along z, (y, x); objects have numbers of their own, 0 is nothing."""
        if isinstance(self._shown, InstancePair):
            truth, prediction = self._shown.truth, self._shown.prediction
            return (
                render_planes(truth.runs, truth.label, z, z + 1)[0],
                render_planes(prediction.runs, prediction.label, z, z + 1)[0],
            )
        begin, end = (z, 0, 0), (z + 1, *self.grid.shape[1:])
        truth, prediction = (source.read(begin, end)[0] > 0 for source in self._shown)
        return truth, prediction


def locate_errors(task: LabelTask, *, most: int = MOST) -> LabelErrors:
    """Find out where a label is wrong: its volumes are read as they are for its score.

    Parameters
    ----------
    task : LabelTask
        Of `csc_eval.running.submission.find_contents`, for instance.
    most : int
        How many places to look for.

    Raises
    ------
    InvalidArgumentError
        If the label was not submitted, or is refused.
    UnreadableDataError
        If one of the two cannot be read.
    """
    if task.submission is None:
        raise InvalidArgumentError(f"{task.truth_key} was not submitted, so that all of it is missed")
    truth, grid = open_truth(task)
    rules = task.rules[0]
    prediction = open_prediction(task.submission, task.key, grid, geometry=rules.geometry, cache_bytes=CACHE_BYTES)
    as_instances = is_aligned_as_instances(task.class_name, instance=task.instance, rules=rules)
    views: tuple[VoxelSource, VoxelSource] = truth, align(prediction, grid, instance=as_instances, rules=rules)
    mask = open_mask(task, grid)
    if mask is not None:
        views = Multiplied(views[0], mask), Multiplied(views[1], mask)
    return _of_instances(task, grid, views, most) if task.instance else _of_voxels(task, grid, views)


def _of_instances(task: LabelTask, grid: CropGrid, views: tuple[VoxelSource, VoxelSource], most: int) -> LabelErrors:
    truth, prediction = (encode_runs(view, max_runs=task.max_runs) for view in views)
    pair = InstancePair(truth=label_ids(truth), prediction=label_components(prediction), voxel_size=grid.voxel_size)
    matched = find_matching(pair, task.rules[0])
    counts, places = ({}, ()) if matched is None else object_errors(pair, matched, grid, most)
    whole = [Intervals.of(instances) for instances in (pair.truth, pair.prediction)]
    hits = whole[0].common_per_plane(whole[1])
    return LabelErrors(
        task=task,
        grid=grid,
        counts=counts,
        places=places,
        hits=hits,
        misses=whole[0].per_plane() - hits,
        false_alarms=whole[1].per_plane() - hits,
        too_many=matched is None,
        _shown=pair,
    )


def _of_voxels(task: LabelTask, grid: CropGrid, views: tuple[VoxelSource, VoxelSource]) -> LabelErrors:
    hits, misses, false_alarms = _count_planes(*views)
    found = LabelErrors(
        task=task,
        grid=grid,
        counts={"misses": int(misses.sum()), "false alarms": int(false_alarms.sum())},
        places=(),
        hits=hits,
        misses=misses,
        false_alarms=false_alarms,
        _shown=views,
    )
    places = [_thickest(found, kind) for kind, count in found.counts.items() if count]
    return replace(found, places=tuple(sorted(places, key=lambda place: -place.wrong_voxels)))


def _count_planes(truth: VoxelSource, prediction: VoxelSource) -> _PER_PLANE:
    """Return hits, misses and false alarms of each plane along z."""
    hits, in_truth, in_prediction = (np.zeros(truth.shape[0], np.int64) for _ in range(3))
    for begin, end in iterate_boxes(truth):
        planes = slice(begin[0], end[0])
        own, other = (
            None if box is None else box > 0 for box in (take_box(v, begin, end) for v in (truth, prediction))
        )
        if own is not None:
            in_truth[planes] += _per_plane(own)
        if other is not None:
            in_prediction[planes] += _per_plane(other)
        if own is not None and other is not None:
            hits[planes] += _per_plane(own & other)
    return hits, in_truth - hits, in_prediction - hits


def _per_plane(mask: Array) -> IntArray:
    return np.array([np.count_nonzero(plane) for plane in mask])  # much faster than by axis


def _thickest(found: LabelErrors, kind: Kind) -> ErrorPlace:
    """Return where most voxels of a plane are wrong in one way: the one deepest among them."""
    from scipy import ndimage

    of_plane = found.misses if kind == "misses" else found.false_alarms
    z = int(np.argmax(of_plane))
    truth, prediction = found.read_plane(z)
    wrong = truth & ~prediction if kind == "misses" else prediction & ~truth
    # What lies on the border of the plane is as deep as what goes on beyond it.
    depth = ndimage.distance_transform_edt(np.pad(wrong, 1, mode="edge"), sampling=found.grid.voxel_size[1:])[
        1:-1, 1:-1
    ]
    y, x = np.unravel_index(int(np.argmax(np.where(wrong, depth, 0))), wrong.shape)
    rows, columns = np.nonzero(wrong)
    voxel = z, int(y), int(x)
    return ErrorPlace(
        kind=kind,
        truth_voxels=int(found.hits.sum() + found.misses.sum()),
        prediction_voxels=int(found.hits.sum() + found.false_alarms.sum()),
        wrong_voxels=int(of_plane.sum()),
        voxel=voxel,
        place_nm=place_of(voxel, found.grid),
        begin=(z, int(rows.min()), int(columns.min())),
        end=(z + 1, int(rows.max()) + 1, int(columns.max()) + 1),
    )
