"""Where a patch lies: from whole voxels of a crop's grid to the grids of input and target in nm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from csc_data.geometry import Grid, Roi, Shape, as_shape
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.spatial import Orientation

Position = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchShape:
    """Input and target of a network; both patches have the same centre.

    Attributes
    ----------
    input, target : ArrayInfo
        The target decides where patches lie.
    further_inputs, further_targets : mapping
        More arrays around the same centre, by their names in batches; such as more of the surroundings, coarser.

    Examples
    --------
    >>> from csc_data import Roi
    >>> from csc_data.loader.poses.spatial import Orientation
    >>> patch = PatchShape(
    ...     input=ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8)), target=ArrayInfo(shape=(16, 16, 8), scale=(8, 8, 4))
    ... )
    >>> lying = Orientation(world_axis=(2, 1, 0))
    >>> patch.target_shape(lying), patch.target_grid(Roi([0, 0, 0], [160, 80, 80]), lying).voxel_size
    ((8, 16, 16), (4.0, 8.0, 8.0))
    """

    input: ArrayInfo
    target: ArrayInfo
    further_inputs: Mapping[str, ArrayInfo] = field(default_factory=dict)
    further_targets: Mapping[str, ArrayInfo] = field(default_factory=dict)

    def target_grid(self, bounds: Roi, orientation: Orientation) -> Grid:
        """Return the grid of a whole crop for targets that lie in it in this orientation."""
        return Grid.covering(bounds, orientation.to_world(self.target.scale))

    def target_shape(self, orientation: Orientation) -> Shape:
        """Return the target's voxels along the axes of the volume."""
        return as_shape(orientation.to_world(self.target.shape))


def centred_grid(around: Grid, shape: Sequence[int], voxel_size: Sequence[float]) -> Grid:
    """Return a grid whose box has the same centre as that of another one.

    Examples
    --------
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> centred_grid(grid, (4, 4, 4), (16, 16, 16)).bounds
    Roi(begin=(8.0, 8.0, 8.0), end=(72.0, 72.0, 72.0))
    """
    bounds = around.bounds
    begin = [
        (b + e) / 2 - (n - 1) / 2 * v for b, e, n, v in zip(bounds.begin, bounds.end, shape, voxel_size, strict=True)
    ]
    z, y, x = begin
    return Grid(voxel_size=(voxel_size[0], voxel_size[1], voxel_size[2]), translation=(z, y, x), shape=as_shape(shape))


def begin_range(count: int, size: int) -> tuple[int, int]:
    """Return the first and last voxel at which a patch may begin along an axis of a crop.

    Where the patch fits it stays within the crop; where it does not, the crop stays within the patch.

    >>> begin_range(100, 64), begin_range(50, 64)
    ((0, 36), (-14, 0))
    """
    return min(0, count - size), max(0, count - size)


def draw_begin(rng: np.random.Generator, grid: Grid, shape: Shape, anchor: Position | None = None) -> Position:
    """Draw where a patch begins, in voxels of a crop's grid.

    Parameters
    ----------
    rng : Generator
    grid : Grid
        That of the whole crop.
    shape : tuple of int
        Voxels of the patch along the volume's axes.
    anchor : tuple of int, optional
        A voxel that the patch must hold.

    Examples
    --------
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 10, 10))
    >>> begin = draw_begin(np.random.default_rng(0), grid, (4, 4, 4), anchor=(9, 9, 9))
    >>> begin  # the only place where a patch holds the last voxel
    (6, 6, 6)
    """
    begin = []
    for axis in range(3):
        low, high = begin_range(grid.shape[axis], shape[axis])
        if anchor is not None:
            low, high = max(low, anchor[axis] - shape[axis] + 1), min(high, anchor[axis])
        begin.append(int(rng.integers(low, high + 1)))
    return begin[0], begin[1], begin[2]
