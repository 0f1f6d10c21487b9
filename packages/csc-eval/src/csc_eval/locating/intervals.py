"""Some objects of a volume as intervals along x, and what two such sets have in common, plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_eval.instances.components import Instances, IntArray
from csc_eval.voxels.arrays import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Voxels as intervals along x, in raster order.

    Attributes
    ----------
    shape : tuple of int
        Of the volume, z, y, x.
    line : int array
        z * ny + y of each.
    start, stop : int arrays
        Each covers x in ``[start, stop)``.

    Examples
    --------
    >>> from csc_eval.scoring.array_scores import pair_volumes
    >>> labels = np.array([[[1, 1, 1, 0]], [[0, 2, 0, 0]]])
    >>> pair = pair_volumes(labels, np.where(labels == 1, [0, 1, 1, 0], 0), (8, 8, 8))
    >>> truth, prediction = Intervals.of(pair.truth), Intervals.of(pair.prediction)
    >>> truth.per_plane().tolist(), truth.common_per_plane(prediction).tolist()
    ([3, 1], [2, 0])
    >>> Intervals.of(pair.truth, [1]).box(), truth.in_plane(1).per_plane().tolist()
    (((0, 0, 0), (1, 1, 3)), [0, 1])
    >>> prediction.centroid().tolist(), prediction.nearest((0, 0, 3), (8, 8, 8))
    ([0.0, 0.0, 1.5], (0, 0, 2))
    """

    shape: Shape
    line: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]

    @classmethod
    def of(cls, instances: Instances, labels: Sequence[int] | None = None) -> Intervals:
        """Return the voxels of some objects by their labels; of all that is foreground by default."""
        runs = instances.runs
        if labels is None:
            line = np.repeat(np.arange(len(runs.line_ptr) - 1, dtype=np.int32), np.diff(runs.line_ptr))
            return cls(shape=runs.shape, line=line, start=runs.start, stop=runs.stop)
        if len(labels) == 1:
            chosen = np.flatnonzero(instances.label == labels[0])
        else:
            wanted = np.zeros(instances.count + 1, bool)
            wanted[list(labels)] = True
            chosen = np.flatnonzero(wanted[instances.label])
        line = (np.searchsorted(runs.line_ptr, chosen, side="right") - 1).astype(np.int32)
        return cls(shape=runs.shape, line=line, start=runs.start[chosen], stop=runs.stop[chosen])

    def __len__(self) -> int:
        return len(self.line)

    @property
    def plane(self) -> npt.NDArray[np.int32]:
        """The z of each."""
        return self.line // np.int32(self.shape[1])

    def per_plane(self) -> IntArray:
        """Return the voxels of each plane."""
        return _summed(self.plane, self.stop - self.start, self.shape[0])

    def common_per_plane(self, other: Intervals) -> IntArray:
        """Return the voxels of each plane that lie in both."""
        if not len(self) or not len(other):
            return np.zeros(self.shape[0], np.int64)
        nx = self.shape[2]
        first, last = (self.line.astype(np.int64) * nx + edge for edge in (self.start, self.stop))
        begin, end = (other.line.astype(np.int64) * nx + edge for edge in (other.start, other.stop))
        covered = np.concatenate([[0], np.cumsum(end - begin)])

        def before(x: IntArray) -> IntArray:
            """How many voxels of the other lie before each x."""
            count = np.searchsorted(begin, x, side="right")
            beyond = np.where(count > 0, end[count - 1] - x, 0)
            return covered[count] - np.maximum(beyond, 0)

        return _summed(self.plane, before(last) - before(first), self.shape[0])

    def in_plane(self, z: int) -> Intervals:
        """Return those of one plane."""
        ny = self.shape[1]
        own = slice(*np.searchsorted(self.line, (z * ny, (z + 1) * ny)))
        return Intervals(shape=self.shape, line=self.line[own], start=self.start[own], stop=self.stop[own])

    def centroid(self) -> npt.NDArray[np.float64]:
        """Return the mean of the voxels' z, y and x."""
        weight = (self.stop - self.start).astype(float)
        z, y = self.plane, self.line % self.shape[1]
        places = np.stack([z, y, (self.start + self.stop - 1) / 2])
        mean: npt.NDArray[np.float64] = (places * weight).sum(1) / weight.sum()
        return mean

    def nearest(self, point: Sequence[float] | npt.NDArray[np.float64], voxel_size: Sequence[float]) -> Shape:
        """Return the voxel (z, y, x) that is nearest to a point in voxels; the distance is taken in nm."""
        z, y = self.plane, self.line % self.shape[1]
        x = np.clip(round(float(point[2])), self.start, self.stop - 1)
        away = sum(((axis - at) * v) ** 2 for axis, at, v in zip((z, y, x), point, voxel_size, strict=True))
        best = int(np.argmin(away))
        return int(z[best]), int(y[best]), int(x[best])

    def box(self) -> tuple[Shape, Shape]:
        """Return first and last plus one voxel of the box around them."""
        z, y = self.plane, self.line % self.shape[1]
        begin = int(z[0]), int(y.min()), int(self.start.min())
        return begin, (int(z[-1]) + 1, int(y.max()) + 1, int(self.stop.max()))


def _summed(plane: npt.NDArray[np.int32], voxels: npt.NDArray[np.integer], count: int) -> IntArray:
    return np.bincount(plane, voxels, minlength=count).astype(np.int64)
