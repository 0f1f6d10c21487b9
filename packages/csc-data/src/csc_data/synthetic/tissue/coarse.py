"""Smooth fields over large boxes: computed on a coarse grid, interpolated slab by slab.

A cell is larger than the memory that its depth field at full resolution should take, and its surface is smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from csc_data.synthetic.tissue.canvas import Canvas, Field, Point, Window

STEP_NM = 24.0
SLAB = 32


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """A grid of `STEP_NM` that covers a box in nm."""

    low: Point
    window: Window

    @classmethod
    def over(cls, low: Point, high: Point) -> CoarseGrid:
        """Return the grid that covers the box, with a step beyond its far side."""
        axes = []
        for axis in range(3):
            count = int(np.ceil((high[axis] - low[axis]) / STEP_NM)) + 2
            shape = [1, 1, 1]
            shape[axis] = count
            axes.append((low[axis] + STEP_NM * np.arange(count)).astype(np.float32).reshape(shape))
        slices = (slice(0, axes[0].size), slice(0, axes[1].size), slice(0, axes[2].size))
        return cls(np.asarray(low, np.float64), Window(slices, axes[0], axes[1], axes[2]))

    def interpolate(self, values: Field, window: Window) -> Field:
        """Return the field at the voxel centres of a window inside the box, by trilinear interpolation."""
        for axis, positions in enumerate((window.z, window.y, window.x)):
            index = (positions.ravel() - self.low[axis]) / STEP_NM
            whole = np.clip(np.floor(index).astype(np.intp), 0, values.shape[axis] - 2)
            shape = [1, 1, 1]
            shape[axis] = whole.size
            share = (index - whole).astype(np.float32).reshape(shape)
            values = values.take(whole, axis) * (1 - share) + values.take(whole + 1, axis) * share
        return values


def as_distance(depth: Field) -> Field:
    """Divide a depth field on the coarse grid by its slope, so that its values near 0 are nm from the surface."""
    slopes = np.gradient(depth, STEP_NM)
    slope = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)
    distance: Field = (depth / np.clip(slope, 0.3, 3.0)).astype(np.float32)
    return distance


def slabs(
    canvas: Canvas, low: Point, high: Point, compute: Callable[[Window], tuple[Field, ...]]
) -> Iterator[tuple[Window, tuple[Field, ...]]]:
    """Compute smooth fields on the part of a box that is in the volume; yield them slab by slab along z.

    Parameters
    ----------
    canvas : Canvas
        The volume.
    low, high : numpy.ndarray
        Corners of the box in nm.
    compute : callable
        Takes a window, the coarse one, and returns fields on it.

    Yields
    ------
    window, fields
        A slab of at most `SLAB` planes, and the fields at its voxels.
    """
    low, high = np.maximum(low, 0.0), np.minimum(high, canvas.extent)
    if np.any(low >= high):
        return
    grid = CoarseGrid.over(low, high)
    fields = compute(grid.window)
    first, last = low[0], high[0]
    thickness = SLAB * canvas.voxel_size[0]
    plane = np.floor(first / canvas.voxel_size[0]) * canvas.voxel_size[0]
    while plane < last:
        end = min(plane + thickness - canvas.voxel_size[0] / 2, last - 1e-6)
        window = canvas.window((plane, low[1], low[2]), (end, high[1] - 1e-6, high[2] - 1e-6))
        if window is not None:
            yield window, tuple(grid.interpolate(values, window) for values in fields)
        plane += thickness
