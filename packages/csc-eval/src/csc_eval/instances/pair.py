"""Truth and predicted instances on one grid: their overlaps and distances, worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from csc_eval._native import Array
from csc_eval.instances.components import Instances, IntArray, Overlaps, find_overlaps
from csc_eval.instances.distances import GroupedRuns, distance_cap, measure_distances


@dataclass(kw_only=True)
class InstancePair:
    """Truth and predicted instances on one grid, and what has been worked out about them.

    One pair serves several rule sets: components and overlaps are found once.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> pair = pair_volumes(np.array([[[5, 5, 0, 0]]]), np.array([[[0, 1, 1, 0]]]), (8, 8, 8))
    >>> pair.overlaps(max_pairs=1000).voxels.tolist()
    [1]
    >>> one = np.array([1])
    >>> pair.distances(one, one).tolist(), pair.centroid_distances(one, one).tolist()
    ([4.0], [8.0])
    """

    truth: Instances
    prediction: Instances
    voxel_size: tuple[float, ...]
    _overlaps: Overlaps | None = field(default=None, repr=False)
    _grouped: tuple[GroupedRuns, GroupedRuns] | None = field(default=None, repr=False)

    @property
    def cap(self) -> float:
        """The largest distance that is told apart, nm."""
        return distance_cap(self.truth.runs.shape, self.voxel_size)

    @property
    def grouped(self) -> tuple[GroupedRuns, GroupedRuns]:
        """Truth and prediction in the order of their labels."""
        if self._grouped is None:
            self._grouped = (GroupedRuns(instances=self.truth), GroupedRuns(instances=self.prediction))
        return self._grouped

    def overlaps(self, max_pairs: int) -> Overlaps:
        """Return the overlap table; given up beyond so many pairs."""
        if self._overlaps is None or (not self._overlaps.complete and len(self._overlaps.truth) < max_pairs):
            self._overlaps = find_overlaps(self.truth, self.prediction, max_pairs=max_pairs)
        if len(self._overlaps.truth) > max_pairs:
            return replace(self._overlaps, complete=False)
        return self._overlaps

    def distances(self, truth: IntArray, prediction: IntArray, second: IntArray | None = None) -> Array:
        """Return Hausdorff distances of labels, pair by pair, in nm, at most the cap."""
        extra = np.zeros(len(truth), np.int64) if second is None else second
        return measure_distances(
            *self.grouped, pairs=(truth, prediction, extra), voxel_size=self.voxel_size, cap=self.cap
        )

    def centroid_distances(self, truth: IntArray, prediction: IntArray) -> Array:
        """Return distances between centroids, pair by pair, in nm; exactly the same for a flipped volume."""
        t, p = self.truth, self.prediction
        # Differences of integer sums over a common denominator: floats would differ in the last bit under a flip.
        n_t, n_p = t.size[truth].astype(object), p.size[prediction].astype(object)
        squared = np.zeros(len(truth))
        for axis, v in enumerate(self.voxel_size):
            gap = t.sums[truth, axis].astype(object) * n_p - p.sums[prediction, axis].astype(object) * n_t
            squared += (v * (np.abs(gap) / (n_t * n_p)).astype(float)) ** 2
        return np.sqrt(squared)
