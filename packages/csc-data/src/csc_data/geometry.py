"""Boxes and grids in nanometres: where a voxel is, and which voxels a box needs.

Everything is ordered z, y, x. A grid (`Grid`) is given by the nm position of the **centre** of its voxel 0, as
OME-NGFF 0.4 has it; its bounds reach half a voxel further. All conversions between nm and voxel indices of the toolbox
go through this module, so that reading and writing cannot disagree by a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from csc_data.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

TOLERANCE = 1e-4
"""Share of a voxel by which positions may differ and still count as equal: stored coordinates are rounded decimals."""

LEVEL_TOLERANCE = 1e-3
"""Share by which a scale level's voxel size may exceed the one asked for and still count as equal to it."""

LARGEST_NM = 1e15
"""A thousand kilometres; longer lengths come from damaged files, and arithmetic on them overflows."""

_DECIMALS = 6


def as_triple(values: Sequence[float], name: str) -> Triple:
    """Check that there are three finite numbers and return them as floats.

    Raises
    ------
    InvalidArgumentError
        If there are not three, or one is not finite.

    Examples
    --------
    >>> as_triple([8, 4, 4], "voxel_size")
    (8.0, 4.0, 4.0)
    >>> as_triple([8, 4], "voxel_size")
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: voxel_size must be three finite numbers (z, y, x), got [8, 4]
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise InvalidArgumentError(f"{name} must be three finite numbers (z, y, x), got {values!r}")
    return numbers


def as_shape(values: Sequence[int], name: str = "shape") -> Shape:
    """Check that there are three whole numbers of at least 0 and return them as ints.

    Raises
    ------
    InvalidArgumentError
        If there are not three, or one is negative or no whole number.

    Examples
    --------
    >>> as_shape(np.array([10, 20.0, 30]))
    (10, 20, 30)
    >>> as_shape([10, 20, 0.5])
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: shape must be three whole numbers (z, y, x) of at least 0, got [10, 20, 0.5]
    """
    try:
        numbers = tuple(int(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != 3 or any(n < 0 or n != v for n, v in zip(numbers, values, strict=True)):
        raise InvalidArgumentError(f"{name} must be three whole numbers (z, y, x) of at least 0, got {values!r}")
    return numbers


@dataclass(frozen=True, slots=True, init=False)
class Roi:
    """A box in nm, half-open: it holds the positions p with begin <= p < end.

    Attributes
    ----------
    begin, end : tuple of float
        Corners in nm, z, y, x.

    Examples
    --------
    >>> Roi((0, 0, 0), (8, 8, 8)).intersect(Roi((4, 4, 4), (20, 20, 20)))
    Roi(begin=(4.0, 4.0, 4.0), end=(8.0, 8.0, 8.0))
    """

    begin: Triple
    end: Triple

    def __init__(self, begin: Sequence[float], end: Sequence[float]) -> None:
        object.__setattr__(self, "begin", as_triple(begin, "begin"))
        object.__setattr__(self, "end", as_triple(end, "end"))

    @property
    def extent(self) -> Triple:
        """Edge lengths in nm; 0 where the box is empty."""
        z, y, x = (max(0.0, e - b) for b, e in zip(self.begin, self.end, strict=True))
        return z, y, x

    @property
    def empty(self) -> bool:
        """Whether no position is in it."""
        return any(e <= b for b, e in zip(self.begin, self.end, strict=True))

    def intersect(self, other: Roi) -> Roi:
        """Return the box that is in both; it may be empty."""
        return Roi(list(map(max, self.begin, other.begin)), list(map(min, self.end, other.end)))

    def grow(self, margin: Sequence[float]) -> Roi:
        """Return the box with a margin in nm added on both sides of every axis (negative to shrink).

        Examples
        --------
        >>> Roi([0, 0, 0], [100, 100, 100]).grow([10, 0, 0])
        Roi(begin=(-10.0, 0.0, 0.0), end=(110.0, 100.0, 100.0))
        """
        nm = as_triple(margin, "margin")
        return Roi(
            [b - m for b, m in zip(self.begin, nm, strict=True)],
            [e + m for e, m in zip(self.end, nm, strict=True)],
        )

    def contains(self, other: Roi, tolerance_nm: float = 0.0) -> bool:
        """Tell whether the other box lies in this one, up to a tolerance in nm.

        Examples
        --------
        >>> Roi([0, 0, 0], [100, 100, 100]).contains(Roi([0, 0, 0], [100, 100, 101]))
        False
        >>> Roi([0, 0, 0], [100, 100, 100]).contains(Roi([0, 0, 0], [100, 100, 101]), tolerance_nm=2)
        True
        """
        return all(
            b - tolerance_nm <= ob and oe <= e + tolerance_nm
            for b, e, ob, oe in zip(self.begin, self.end, other.begin, other.end, strict=True)
        )


@dataclass(frozen=True, slots=True, init=False)
class Grid:
    """The grid of voxels of an array.

    Attributes
    ----------
    voxel_size : tuple of float
        nm per voxel, z, y, x; each above 0.
    translation : tuple of float
        nm position of the centre of voxel (0, 0, 0).
    shape : tuple of int
        Voxels per axis.

    Examples
    --------
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> grid.bounds
    Roi(begin=(0.0, 0.0, 0.0), end=(80.0, 80.0, 80.0))
    """

    voxel_size: Triple
    translation: Triple
    shape: Shape

    def __init__(self, *, voxel_size: Sequence[float], translation: Sequence[float], shape: Sequence[int]) -> None:
        object.__setattr__(self, "voxel_size", as_triple(voxel_size, "voxel_size"))
        object.__setattr__(self, "translation", as_triple(translation, "translation"))
        object.__setattr__(self, "shape", as_shape(shape))
        if min(self.voxel_size) <= 0 or max(self.voxel_size) > LARGEST_NM:
            raise InvalidArgumentError(
                f"voxel_size must be above 0 nm on every axis (and below 1e15), got {self.voxel_size}"
            )
        if max(map(abs, self.translation)) > LARGEST_NM:
            raise InvalidArgumentError(f"translation must be a place in nm, got {self.translation}")

    @classmethod
    def covering(cls, roi: Roi, voxel_size: Sequence[float]) -> Grid:
        """Return the grid of that voxel size that starts at the box's first corner and covers it.

        Its last voxels reach beyond the box where the extent is not a multiple of the voxel size.

        Examples
        --------
        >>> Grid.covering(Roi([0, 0, 0], [100, 100, 100]), voxel_size=(8, 8, 8))
        Grid(voxel_size=(8.0, 8.0, 8.0), translation=(4.0, 4.0, 4.0), shape=(13, 13, 13))
        """
        size = as_triple(voxel_size, "voxel_size")
        shape = [math.ceil(e / v - TOLERANCE) for e, v in zip(roi.extent, size, strict=True)]
        translation = [b + v / 2 for b, v in zip(roi.begin, size, strict=True)]
        return cls(voxel_size=size, translation=translation, shape=shape)

    @property
    def bounds(self) -> Roi:
        """The box in nm that the voxels fill: half a voxel beyond the first and the last centres."""
        begin = [t - v / 2 for t, v in zip(self.translation, self.voxel_size, strict=True)]
        end = [b + n * v for b, n, v in zip(begin, self.shape, self.voxel_size, strict=True)]
        return Roi(begin, end)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def window(self, begin: Sequence[int], shape: Sequence[int]) -> Grid:
        """Return the grid of a box of voxels; it may reach beyond this one.

        Parameters
        ----------
        begin : sequence of int
            Index of its first voxel here; negative ones lie before the first.
        shape : sequence of int
            Its voxels per axis.

        Examples
        --------
        >>> grid = Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(10, 20, 20))
        >>> grid.window((2, 0, 0), (3, 20, 20))
        Grid(voxel_size=(8.0, 4.0, 4.0), translation=(16.0, 0.0, 0.0), shape=(3, 20, 20))
        """
        translation = [t + int(b) * v for t, b, v in zip(self.translation, begin, self.voxel_size, strict=True)]
        return Grid(voxel_size=self.voxel_size, translation=translation, shape=shape)

    def window_covering(self, roi: Roi) -> tuple[tuple[int, int, int], Grid]:
        """Return the smallest box of voxels, not clipped to this grid, that covers a box in nm.

        Returns
        -------
        begin : tuple of int
            Index of the first voxel.
        grid : Grid
            The grid of the window.

        Examples
        --------
        >>> grid = Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(10, 20, 20))
        >>> begin, window = grid.window_covering(Roi([20, 2, 2], [30, 10, 10]))
        >>> begin, window.bounds
        ((3, 1, 1), Roi(begin=(20.0, 2.0, 2.0), end=(36.0, 10.0, 10.0)))
        """
        first, count = [], []
        for b, e, low, v in zip(roi.begin, roi.end, self.bounds.begin, self.voxel_size, strict=True):
            start = math.floor((b - low) / v + TOLERANCE)
            first.append(start)
            count.append(max(0, math.ceil((e - low) / v - TOLERANCE) - start))
        return (first[0], first[1], first[2]), self.window(first, count)

    def centres(self, axis: int) -> npt.NDArray[np.float64]:
        """Return the nm positions of the voxel centres along an axis, to 1e-6 nm, shape (n,).

        A window has the very positions of its part of the whole grid, although it sums them up in another order.

        Examples
        --------
        >>> Grid(voxel_size=(8, 4, 4), translation=(0, 2, 2), shape=(3, 20, 20)).centres(axis=0).tolist()
        [0.0, 8.0, 16.0]
        """
        import numpy as np  # here, as commands that only ask where boxes are do not wait for it

        centres = self.translation[axis] + np.arange(self.shape[axis], dtype=np.float64) * self.voxel_size[axis]
        # Sizes and places are decimals, so this takes away what binary arithmetic added.
        return np.round(centres, _DECIMALS)

    def coordinates_in(self, other: Grid, axis: int) -> npt.NDArray[np.float64]:
        """Return where this grid's voxel centres lie in another one, as fractional indices of it, shape (n,).

        Values within `TOLERANCE` of a centre or of a border between voxels are that: translations are stored as
        rounded decimals, a grid read through itself must give back its very voxels, and positions on borders must
        all fall to the same side.

        Examples
        --------
        >>> fine = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(4, 4, 4))
        >>> coarse = Grid(voxel_size=(8, 8, 8), translation=(2, 2, 2), shape=(2, 2, 2))
        >>> coarse.coordinates_in(fine, axis=0).tolist()
        [0.5, 2.5]
        """
        import numpy as np

        index = (self.centres(axis) - other.translation[axis]) / other.voxel_size[axis]
        half = np.rint(2 * index) / 2
        return np.where(np.abs(index - half) < TOLERANCE, half, index)

    def is_aligned_with(self, other: Grid) -> bool:
        """Tell whether both grids have the same voxel size and centres that coincide, however they overlap.

        Examples
        --------
        >>> grid = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(4, 4, 4))
        >>> grid.is_aligned_with(grid.window((-2, 0, 0), (8, 8, 8)))
        True
        >>> grid.is_aligned_with(Grid(voxel_size=(4, 4, 4), translation=(1, 0, 0), shape=(4, 4, 4)))
        False
        """
        for axis in range(3):
            if abs(self.voxel_size[axis] / other.voxel_size[axis] - 1) * max(self.shape[axis], 1) > TOLERANCE:
                return False
            offset = (self.translation[axis] - other.translation[axis]) / other.voxel_size[axis]
            if abs(offset - round(offset)) > TOLERANCE:
                return False
        return True
