"""Hausdorff distances of matched instances, and what becomes of them in a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from csc_eval._native import Array, KernelMemoryError, call
from csc_eval.instances.components import Instances, IntArray, label_ids
from csc_eval.voxels.arrays import MemoryArray, as_lengths, as_pair
from csc_eval.voxels.runs import encode_runs

NORMALISATION_BASE = 1.01


def distance_cap(shape: Sequence[int], voxel_size: Sequence[float]) -> float:
    """Return the largest distance that is told apart, in nm: half the crop's shortest edge.

    >>> distance_cap((100, 200, 300), (8.0, 2.0, 2.0))
    200.0
    """
    return float(min(v * n / 2 for v, n in zip(voxel_size, shape, strict=True)))


def normalise_distances(distances_nm: Array, voxel_size: Sequence[float]) -> npt.NDArray[np.float64]:
    """Map distances to (0, 1]: 1.01 ** (-d / |voxel_size|).

    >>> normalise_distances(np.array([0.0]), (8.0, 8.0, 8.0)).tolist()
    [1.0]
    """
    norm = float(np.linalg.norm(np.asarray(voxel_size, np.float64)))
    result: npt.NDArray[np.float64] = NORMALISATION_BASE ** (-distances_nm.astype(np.float64) / norm)
    return result


@dataclass(frozen=True, kw_only=True)
class GroupedRuns:
    """Instances with their runs in the order of the labels, as distance searches need them.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[1, 0, 2, 2]]]), np.array([[[1, 0, 2, 2]]]), (8, 8, 8))
    >>> GroupedRuns(instances=pair.truth).of(2).tolist()  # z, y, start and stop
    [[0, 0, 2, 4]]
    """

    instances: Instances

    @property
    def label_ptr(self) -> IntArray:
        """Runs of label k are ``sorted[label_ptr[k]:label_ptr[k + 1]]``."""
        return self._tables[0]

    @property
    def sorted(self) -> npt.NDArray[np.int32]:
        """Runs sorted by label, in raster order within each: z, y, start and stop of each, as (n, 4)."""
        return self._tables[1]

    def of(self, label: int) -> npt.NDArray[np.int32]:
        """Return the runs of a label: z, y, start and stop of each, as (n, 4)."""
        return self.sorted[self.label_ptr[label] : self.label_ptr[label + 1]]

    @cached_property
    def _tables(self) -> tuple[IntArray, npt.NDArray[np.int32]]:
        runs, count = self.instances.runs, self.instances.count
        label_ptr, table = np.zeros(count + 3, np.int64), np.empty((len(runs), 4), np.int32)
        nz, ny, _ = runs.shape
        call("group", runs.line_ptr, runs.start, runs.stop, self.instances.label, nz, ny, count, label_ptr, table)
        return label_ptr, table


def measure_distances(
    truth: GroupedRuns,
    prediction: GroupedRuns,
    *,
    pairs: tuple[IntArray, IntArray, IntArray],
    voxel_size: Sequence[float],
    cap: float,
) -> npt.NDArray[np.float64]:
    """Return Hausdorff distances in nm, at most `cap`, of truth instances to one or two predicted ones.

    Parameters
    ----------
    truth, prediction : GroupedRuns
        The instances.
    pairs : tuple of three int64 arrays
        Labels: of the truth, of the prediction, and of a second one whose voxels are added to it (0: none).
    voxel_size : sequence of float
        nm, z, y, x.
    cap : float
        nm.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[1, 1, 0, 0]]]), np.array([[[1, 1, 1, 1]]]), (8, 8, 8))
    >>> one, none = np.array([1]), np.array([0])
    >>> truth, prediction = pair.grouped
    >>> measure_distances(truth, prediction, pairs=(one, one, none), voxel_size=(8, 8, 8), cap=100.0).tolist()
    [16.0]
    """
    t, p, second = (np.ascontiguousarray(part, np.int64) for part in pairs)
    result = np.empty(len(t), np.float64)
    status = call(
        "hausdorff", len(t), t, p, second, np.asarray(voxel_size, np.float64), cap,
        truth.sorted, truth.label_ptr, prediction.sorted, prediction.label_ptr, result,
    )  # fmt: skip
    if status:
        raise KernelMemoryError("no memory for the distances")
    return result


def hausdorff_distances(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    max_distance: float | None = None,
) -> npt.NDArray[np.float32]:
    """Return per truth id its Hausdorff distance to the voxels of the prediction that bear the same id.

    Parameters
    ----------
    truth, prediction : integer arrays, (z, y, x)
        Label volumes in which equal ids mean a match; 0 is background.
    voxel_size : sequence of float
        nm, z, y, x.
    max_distance : float, optional
        Larger distances are cut to it, and ids that the prediction lacks get it; half the shortest edge by default.

    Returns
    -------
    float32 array
        nm, in the order of the truth's ids.

    Raises
    ------
    InvalidArgumentError
        If they are not volumes of numbers of one shape, or the voxel size is not three lengths.

    Examples
    --------
    >>> truth = np.array([[[1, 1, 0, 0, 0, 0, 2, 2]]])
    >>> hausdorff_distances(truth, np.array([[[1, 0, 0, 0, 0, 0, 2, 2]]]), (8, 8, 8), max_distance=100).tolist()
    [8.0, 0.0]
    """
    volumes, lengths = as_pair(truth, prediction), as_lengths(voxel_size)
    cap = distance_cap(volumes[0].shape, lengths) if max_distance is None else max_distance
    t, p = (label_ids(encode_runs(MemoryArray(volume))) for volume in volumes)
    order = np.argsort(t.ids[1:]) + 1
    position = {int(value): label for label, value in enumerate(p.ids)}
    partner = np.array([position.get(int(t.ids[label]), 0) for label in order], np.int64)
    result = np.full(len(order), cap, np.float64)
    found = partner > 0
    result[found] = measure_distances(
        GroupedRuns(instances=t),
        GroupedRuns(instances=p),
        pairs=(order[found], partner[found], np.zeros(int(found.sum()), np.int64)),
        voxel_size=lengths,
        cap=cap if math.isfinite(cap) else 1e300,
    )
    return result.astype(np.float32)
