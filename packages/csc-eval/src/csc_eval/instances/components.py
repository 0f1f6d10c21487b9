"""Instances on runs: components of a prediction, ids of a truth, their sizes, centroids and overlaps."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_eval._native import Array, KernelMemoryError, call
from csc_eval.voxels.arrays import MemoryArray, as_volume
from csc_eval.voxels.runs import Runs, encode_runs

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The instances of one volume.

    Attributes
    ----------
    runs : Runs
        The foreground.
    label : int32 array
        Per run its instance, 1 .. count.
    ids : int64 array, (count + 1,)
        Per instance its number: the component number of a prediction, the stored id of a truth; ``ids[0]`` is 0.
    size : int64 array, (count + 1,)
        Voxels per instance.
    sums : int64 array, (count + 1, 3)
        Sums of the voxels' z, y and x; over `size` they give the centroids.
    """

    runs: Runs
    label: npt.NDArray[np.int32]
    ids: IntArray
    size: IntArray
    sums: IntArray

    @property
    def count(self) -> int:
        """Number of instances."""
        return len(self.ids) - 1

    @property
    def largest_id(self) -> int:
        """The largest id, 0 if there is no instance."""
        return int(self.ids.max()) if self.count else 0


def label_components(runs: Runs) -> Instances:
    """Find the 26-connected components of equal values, numbered as ``cc3d`` numbers them.

    Ids that differ are never merged, one id in two pieces is split, and every NaN is alone. Numbers 1, 2, ... follow
    the raster order of the components' first voxels, x fastest for an array in C order and z fastest for one in
    Fortran order.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> from csc_eval.voxels.runs import encode_runs
    >>> found = label_components(encode_runs(MemoryArray(np.array([[[1, 1, 0, 1, 2]]]))))
    >>> found.count, found.size.tolist()
    (3, [0, 2, 1, 1])
    """
    nz, ny, _ = runs.shape
    label = np.empty(len(runs), np.int32)
    has_nan = runs.dtype.kind == "f"
    count = call("label", runs.line_ptr, runs.start, runs.stop, runs.key, nz, ny, has_nan, label)
    if runs.order == "F":
        first = np.full(count + 1, np.iinfo(np.int64).max)
        call("first_voxels_fortran", runs.line_ptr, runs.start, label, nz, ny, first)
        number = np.zeros(count + 1, np.int32)
        number[np.argsort(first[1:], kind="stable") + 1] = np.arange(1, count + 1, dtype=np.int32)
        label = number[label]
    return _measure(runs, label, np.arange(count + 1))


def label_ids(runs: Runs) -> Instances:
    """Take the stored ids of a truth volume as they are.

    Raises
    ------
    UnreadableDataError
        If a value is not a whole number, or beyond 2**63 - 1.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> from csc_eval.voxels.runs import encode_runs
    >>> found = label_ids(encode_runs(MemoryArray(np.array([[[1, 1, 0, 1, 2]]]))))
    >>> found.ids.tolist(), found.size.tolist()  # the id 1 is one object, though in two pieces
    ([0, 1, 2], [0, 3, 1])
    """
    keys, label = _unique(runs.key)
    if runs.dtype.kind == "f":
        values = keys.view(np.float64)
        if not np.all(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)):
            raise UnreadableDataError("the truth holds ids that are not whole numbers; store it as unsigned integers")
        ids = values.astype(np.int64)
    else:
        ids = keys.view(np.int64)
        if runs.dtype.kind == "u" and np.any(ids < 0):
            raise UnreadableDataError("the truth holds ids beyond 2**63 - 1; renumber it")
    # In the order of the ids: positive ones first, so that overlaps with negative ones are told by their label.
    order = np.lexsort((ids, ids < 0))
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(1, len(ids) + 1, dtype=np.int32)
    return _measure(runs, rank[label], np.concatenate([[0], ids[order]]))


def keep_components(components: Instances, kept: npt.NDArray[np.bool_]) -> Instances:
    """Return some of the components of a prediction, as `label_components` finds them where the others are not.

    Parameters
    ----------
    components : Instances
        From `label_components`.
    kept : bool array, (count,)
        Which of them, from component 1 on.

    Examples
    --------
    >>> found = label_components(encode_runs(MemoryArray(np.array([[[1, 0, 2, 2, 0, 3]]]))))
    >>> keep_components(found, np.array([False, True, True])).size.tolist()
    [0, 2, 1]
    """
    chosen = np.flatnonzero(kept) + 1
    number = np.zeros(components.count + 1, np.int32)
    number[chosen] = np.arange(1, len(chosen) + 1, dtype=np.int32)
    runs = components.runs
    stays = number[components.label] > 0
    before = np.concatenate([[0], np.cumsum(stays)])
    part = replace(
        runs, line_ptr=before[runs.line_ptr], start=runs.start[stays], stop=runs.stop[stays], key=runs.key[stays]
    )
    places = np.concatenate([[0], chosen])
    return Instances(
        runs=part,
        label=number[components.label[stays]],
        ids=np.arange(len(places)),
        size=components.size[places],
        sums=components.sums[places],
    )


def _unique(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], IntArray]:
    top = int(keys.max()) if len(keys) else 0
    if top < 2**24:  # ids are mostly small, and a table is much faster than sorting
        present = np.zeros(top + 1, bool)
        present[keys] = True
        number = np.cumsum(present) - 1
        return np.flatnonzero(present).astype(np.uint64), number[keys]
    values, inverse = np.unique(keys, return_inverse=True)
    return values, inverse.reshape(-1)


def _measure(runs: Runs, label: npt.NDArray[np.int32], ids: Array) -> Instances:
    nz, ny, _ = runs.shape
    size = np.zeros(len(ids), np.int64)
    sums = np.zeros((len(ids), 3), np.int64)
    call("measure", runs.line_ptr, runs.start, runs.stop, label, nz, ny, size, sums)
    return Instances(runs=runs, label=label, ids=ids.astype(np.int64), size=size, sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """The overlap table of a truth and a prediction, sparse.

    Attributes
    ----------
    truth, prediction : int64 arrays
        Labels of each overlapping pair, sorted by truth, then prediction.
    voxels : int64 array
        What the pair has in common.
    iou : float32 array
        Intersection over union of the pair.
    complete : bool
        False if there were more than the pairs allowed, and the table was given up.
    """

    truth: IntArray
    prediction: IntArray
    voxels: IntArray
    iou: npt.NDArray[np.float32]
    complete: bool = True


def find_overlaps(truth: Instances, prediction: Instances, *, max_pairs: int = 2**31) -> Overlaps:
    """Count the voxels that each pair of instances has in common; truth ids below 0 overlap nothing.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 5, 0]]]), np.array([[[0, 1, 1, 1]]]), (8, 8, 8))
    >>> found = find_overlaps(pair.truth, pair.prediction)
    >>> found.voxels.tolist(), found.iou.tolist()
    ([2], [0.5])
    """
    handle = ctypes.c_void_p()
    t, p = truth.runs, prediction.runs
    n_lines = t.shape[0] * t.shape[1]
    count = call(
        "overlaps", t.line_ptr, t.start, t.stop, truth.label, p.line_ptr, p.start, p.stop, prediction.label,
        n_lines, max_pairs, ctypes.byref(handle),
    )  # fmt: skip
    if count < 0:
        call("take_overlaps", handle, None, None)
        raise KernelMemoryError("no memory for the overlap table")
    keys, voxels = np.empty(count, np.uint64), np.empty(count, np.int64)
    call("take_overlaps", handle, keys, voxels)
    order = np.argsort(keys)
    keys, voxels = keys[order], voxels[order]
    t_label = (keys >> np.uint64(32)).astype(np.int64)
    p_label = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    positive = truth.ids[t_label] > 0
    t_label, p_label, voxels = t_label[positive], p_label[positive], voxels[positive]
    iou = (voxels / (truth.size[t_label] + prediction.size[p_label] - voxels)).astype(np.float32)
    return Overlaps(truth=t_label, prediction=p_label, voxels=voxels, iou=iou, complete=count <= max_pairs)


def connected_components(volume: npt.ArrayLike) -> tuple[npt.NDArray[np.int32], int]:
    """Label the 26-connected components of equal values, as the official scoring does before matching.

    Parameters
    ----------
    volume : array, (z, y, x)
        Any dtype; 0 is background.

    Returns
    -------
    labels : int32 array
        Of the same shape, 0 for background, components numbered from 1.
    count : int
        How many there are.

    Raises
    ------
    InvalidArgumentError
        If it is not a volume of numbers.

    Examples
    --------
    >>> labels, count = connected_components(np.array([[[7, 7, 0, 7, 5]]]))
    >>> labels.tolist(), count
    ([[[1, 1, 0, 2, 3]]], 3)
    """
    found = label_components(encode_runs(MemoryArray(as_volume(volume, "the volume"))))
    return render_planes(found.runs, found.label, 0, found.runs.shape[0]), found.count


def render_planes(runs: Runs, values: npt.NDArray[np.int32], begin: int, end: int) -> npt.NDArray[np.int32]:
    """Write one value per run into planes `begin` to `end` of a volume of zeros.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> from csc_eval.voxels.runs import encode_runs
    >>> found = label_components(encode_runs(MemoryArray(np.array([[[1, 1, 0, 1]]]))))
    >>> render_planes(found.runs, found.label, 0, 1).tolist()
    [[[1, 1, 0, 2]]]
    """
    _, ny, nx = runs.shape
    flat = np.zeros((end - begin) * ny * nx + 1, np.int32)
    line_ptr = runs.line_ptr[begin * ny : end * ny + 1]
    own = slice(int(line_ptr[0]), int(line_ptr[-1]))
    lines = np.repeat(np.arange(len(line_ptr) - 1), np.diff(line_ptr)) * nx
    # Each run adds its value at its start and takes it back at its stop; the running sum is the volume.
    np.add.at(flat, lines + runs.start[own], values[own])
    np.add.at(flat, lines + runs.stop[own], -values[own])
    planes: npt.NDArray[np.int32] = np.cumsum(flat, dtype=np.int32)[:-1].reshape(end - begin, ny, nx)
    return planes
