"""Where the voxels of a patch lie in the volume: one map from patch to nm, composed once and used for all arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Grid, Triple
from csc_data.loader.poses.array_info import ArrayInfo

Matrix = npt.NDArray[np.float64]
"""Shape (3, 3)."""

Vector = npt.NDArray[np.float64]
"""Shape (3,)."""


_ALONG = 1e-6  # share of an axis of the patch along one of the volume that is more than rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displacement:
    """A smooth field of nm to go further, on a coarse grid over the patch, interpolated linearly.

    Attributes
    ----------
    values : ndarray of float32
        Shape (3, z, y, x): nm along the axes of the volume.
    begin : ndarray of float64
        Position of grid point 0 in nm from the centre of the patch, along the patch's axes.
    step : ndarray of float64
        nm between grid points.
    """

    values: npt.NDArray[np.float32]
    begin: Vector
    step: Vector

    @property
    def largest(self) -> Vector:
        """Most nm that it goes along each axis of the volume; interpolation stays below."""
        largest: Vector = np.abs(self.values).reshape(3, -1).max(axis=1).astype(np.float64)
        return largest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchMap:
    """The map from a patch to the volume: position = centre + linear @ offset + displacement, in nm.

    Attributes
    ----------
    centre : ndarray of float64
        Position in the volume of the patch's centre, nm.
    linear : ndarray of float64
        From offsets along the patch's axes to offsets along the volume's: rotation, scale, transposition and mirror.
    displacement : Displacement, optional

    Examples
    --------
    >>> array = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
    >>> at = PatchMap(centre=np.array([100.0, 100.0, 100.0]))
    >>> at.holds(np.array([110.0, 100.0, 100.0]), array), at.holds(np.array([120.0, 100.0, 100.0]), array)
    (True, False)
    >>> at.voxel_size(array), at.nominal_steps(array), at.displacement_in(array, None)
    ((8.0, 8.0, 8.0), (8.0, 8.0, 8.0), None)
    """

    centre: Vector
    linear: Matrix = field(default_factory=lambda: np.eye(3))
    displacement: Displacement | None = None

    def to_voxels(self, array: ArrayInfo, source: Grid) -> tuple[Matrix, Vector]:
        """Return matrix and offset from voxels of an array of the patch to voxel coordinates of a volume.

        Examples
        --------
        >>> from csc_data import Grid
        >>> volume = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(100, 100, 100))
        >>> at = PatchMap(centre=np.array([100.0, 100.0, 100.0]))
        >>> matrix, offset = at.to_voxels(ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8)), volume)
        >>> np.diag(matrix).tolist(), offset.tolist()
        ([2.0, 2.0, 2.0], [22.0, 22.0, 22.0])
        """
        voxel = np.asarray(source.voxel_size)
        scale = np.asarray(array.scale)
        m = self.linear * scale / voxel[:, np.newaxis]
        half = (np.asarray(array.shape) - 1) / 2
        t = (self.centre - np.asarray(source.translation)) / voxel - m @ half
        return m, t

    @classmethod
    def upright(cls, grid: Grid) -> tuple[PatchMap, ArrayInfo]:
        """Return the map of the patch that a grid is, and its voxels.

        Examples
        --------
        >>> from csc_data import Grid
        >>> at, array = PatchMap.upright(Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10)))
        >>> at.centre.tolist(), array.shape
        ([40.0, 40.0, 40.0], (10, 10, 10))
        """
        bounds = grid.bounds
        centre = (np.asarray(bounds.begin) + np.asarray(bounds.end)) / 2
        return cls(centre=centre), ArrayInfo(shape=grid.shape, scale=grid.voxel_size)

    def nominal_steps(self, array: ArrayInfo) -> Triple:
        """Return the voxel size, along each axis of the volume, at which an array is to be read.

        It is the array's own, however the patch is scaled: noise and sharpness stay those of an upright patch. Only a
        patch that is shrunk to half and less is read as coarse as that.
        """
        # In plain numbers: this is asked several times for each sample, and arrays of three cost ten times as much.
        rows = self.linear.tolist()
        factors = [math.hypot(*column) for column in zip(*rows, strict=True)]
        times = max(1.0, math.floor(min(factors) + _ALONG))
        z, y, x = (
            min(v * times for e, f, v in zip(row, factors, array.scale, strict=True) if abs(e) > _ALONG * f)
            for row in rows
        )
        return z, y, x

    def voxel_size(self, array: ArrayInfo) -> Triple:
        """Return the size in nm of an array's voxels along the patch's axes, scaled as the patch is."""
        z, y, x = (np.asarray(array.scale) * np.sqrt((self.linear**2).sum(axis=0))).tolist()
        return z, y, x

    def displacement_in(self, array: ArrayInfo, source: Grid) -> tuple[npt.NDArray[np.float32], Matrix] | None:
        """Return the displacement in voxels of a volume, and factor and offset from voxels of the array to its grid."""
        field_ = self.displacement
        if field_ is None:
            return None
        scale = np.asarray(array.scale)
        place = np.empty((3, 2))
        place[:, 0] = scale / field_.step
        place[:, 1] = (-(np.asarray(array.shape) - 1) / 2 * scale - field_.begin) / field_.step
        voxel = np.asarray(source.voxel_size, dtype=np.float32).reshape(3, 1, 1, 1)
        return np.ascontiguousarray(field_.values / voxel), place

    def holds(self, position: Vector, array: ArrayInfo) -> bool:
        """Tell whether the patch, the displacement left aside, covers a position in nm."""
        offset = np.linalg.solve(self.linear, position - self.centre)
        return bool(np.all(np.abs(offset) <= np.asarray(array.extent) / 2 * (1 + 1e-9)))


def voxel_range(
    m: Matrix, t: Vector, shape: Sequence[int], displacement: npt.NDArray[np.float32] | None = None
) -> tuple[Vector, Vector]:
    """Return the least and greatest voxel coordinates of a volume that a patch reaches, along each axis.

    Parameters
    ----------
    m, t : ndarray
        From voxels of the patch to coordinates of the volume.
    shape : sequence of int
        Of the patch.
    displacement : ndarray, optional
        In voxels of the volume, shape (3, ...).

    Examples
    --------
    >>> low, high = voxel_range(np.eye(3), np.array([10.0, 0.0, 0.0]), (4, 4, 4))
    >>> low.tolist(), high.tolist()
    ([10.0, 0.0, 0.0], [13.0, 3.0, 3.0])
    """
    ends = m * (np.asarray(shape) - 1)
    low = t + np.minimum(ends, 0).sum(axis=1)
    high = t + np.maximum(ends, 0).sum(axis=1)
    if displacement is not None:
        largest = np.abs(displacement).reshape(3, -1).max(axis=1)
        low, high = low - largest, high + largest
    return low, high
