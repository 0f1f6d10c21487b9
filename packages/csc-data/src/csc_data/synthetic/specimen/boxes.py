"""Boxes of voxels in an endless specimen, and what is drawn into one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class
from csc_data.geometry import Shape, Triple

Field: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Point: TypeAlias = npt.NDArray[np.float64]
Axes: TypeAlias = tuple[Point, Point, Point]

CYTO = get_class("cyto").id
FAR = 200.0
"""Distances are kept up to here, in nm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of voxels.

    Attributes
    ----------
    begin : tuple of int
        First voxel; negative ones are before the volume's first.
    shape : tuple of int
        Voxels per axis.
    voxel_size : tuple of float
        nm, z, y, x.
    origin : tuple of float
        Where the corner of voxel 0 of the volume lies in the specimen, in nm.
    """

    begin: tuple[int, int, int]
    shape: Shape
    voxel_size: Triple
    origin: Triple

    @property
    def axes(self) -> Axes:
        """Positions in nm of the voxel centres, axis by axis; of a voxel they are the same in whatever box it is."""
        z, y, x = (
            np.asarray(o + (np.arange(b, b + n) + 0.5) * v, np.float64)
            for o, b, n, v in zip(self.origin, self.begin, self.shape, self.voxel_size, strict=True)
        )
        return z, y, x

    @property
    def low(self) -> Point:
        """First corner in nm."""
        corner: Point = np.array(self.origin) + np.array(self.begin) * np.array(self.voxel_size)
        return corner

    @property
    def high(self) -> Point:
        """Last corner in nm."""
        corner: Point = self.low + np.array(self.shape) * np.array(self.voxel_size)
        return corner

    def grown(self, margin: Sequence[int]) -> Box:
        """Return the box with some voxels more on each side."""
        z, y, x = (b - m for b, m in zip(self.begin, margin, strict=True))
        nz, ny, nx = (n + 2 * m for n, m in zip(self.shape, margin, strict=True))
        return Box(begin=(z, y, x), shape=(nz, ny, nx), voxel_size=self.voxel_size, origin=self.origin)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a canvas, and where its voxels lie from a point: nm, shaped to broadcast against each other."""

    slices: tuple[slice, slice, slice]
    z: Field
    y: Field
    x: Field
    axes: Axes

    def along(self, direction: Point) -> Field:
        """Return how far voxels lie along a direction from the point."""
        z, y, x = (np.float32(part) for part in direction)
        reached: Field = (self.z * z + self.y * y) + self.x * x
        return reached

    def distance(self) -> Field:
        """Return the distance from the point."""
        apart: Field = np.sqrt((self.z * self.z + self.y * self.y) + self.x * self.x)
        return apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """How something that a membrane encloses looks.

    Attributes
    ----------
    membrane, lumen : int
        Ids of the classes.
    thickness_nm : float
        Of the membrane.
    membrane_grey, lumen_grey : float
        0 to 255, before the microscope.
    """

    membrane: int
    lumen: int
    thickness_nm: float
    membrane_grey: float
    lumen_grey: float


@dataclass(slots=True)
class Canvas:
    """Classes, objects, cells and brightness of a box, while it is drawn.

    Attributes
    ----------
    box : Box
    atoms : numpy.ndarray of uint8
        Id of the atomic class.
    objects : numpy.ndarray of uint32
        Id of the organelle, 0 outside.
    cells : numpy.ndarray of uint16
        Id of the cell, 0 outside.
    grey : numpy.ndarray of float32
        Brightness; membranes are dark.
    clearance : numpy.ndarray of float32
        Distance in nm from all that was drawn, up to `FAR`; below 0 inside of it.
    """

    box: Box
    atoms: npt.NDArray[np.uint8]
    objects: npt.NDArray[np.uint32]
    cells: npt.NDArray[np.uint16]
    grey: Field
    clearance: Field

    @classmethod
    def blank(cls, box: Box) -> Canvas:
        """Return a box of cytosol."""
        return cls(
            box,
            np.full(box.shape, CYTO, np.uint8),
            np.zeros(box.shape, np.uint32),
            np.zeros(box.shape, np.uint16),
            np.full(box.shape, 168.0, np.float32),
            np.full(box.shape, FAR, np.float32),
        )

    def window(self, centre: Point, low: Point, high: Point) -> Window | None:
        """Return the part between two corners in nm; None where it lies outside."""
        slices, axes, relative = [], [], []
        # Counted from voxel 0 of the volume, so that rounding is the same in all boxes.
        size, start = np.array(self.box.voxel_size), np.array(self.box.origin)
        first = np.floor((low - start) / size).astype(int) - self.box.begin
        last = np.floor((high - start) / size).astype(int) + 1 - self.box.begin
        for number, (axis, n) in enumerate(zip(self.box.axes, self.box.shape, strict=True)):
            begin, end = max(0, int(first[number])), min(n, int(last[number]))
            if end <= begin:
                return None
            slices.append(slice(begin, end))
            axes.append(axis[begin:end])
            shape = [1, 1, 1]
            shape[number] = end - begin
            relative.append((axis[begin:end] - centre[number]).astype(np.float32).reshape(shape))
        z, y, x = relative
        return Window((slices[0], slices[1], slices[2]), z, y, x, (axes[0], axes[1], axes[2]))

    def around(self, centre: Point, radius: float) -> Window | None:
        """Return the part around a point."""
        return self.window(centre, centre - radius, centre + radius)

    def cover(self, depth: Field) -> Field:
        """Return which share of a voxel lies where a depth is above 0."""
        sharp = np.float32(1.0 / (sum(self.box.voxel_size) / 3))
        share: Field = np.clip(depth * sharp + np.float32(0.5), 0, 1)
        return share

    def keep_off(self, window: Window, depth: Field) -> None:
        """Remember how far voxels are from what was drawn."""
        near = self.clearance[window.slices]
        np.minimum(near, -depth, out=near)

    def enclose(self, window: Window, depth: Field, layers: Layers, number: int = 0) -> Mask:
        """Draw a membrane and what it encloses where there is cytosol; return where it is.

        Parameters
        ----------
        window : Window
        depth : numpy.ndarray
            Distance in nm from the outer face of the membrane, above 0 inside.
        layers : Layers
        number : int
            Id of the object.
        """
        atoms = self.atoms[window.slices]
        free = atoms == CYTO
        inside: Mask = (depth > 0) & free
        if inside.any():
            atoms[inside] = layers.membrane
            atoms[inside & (depth > layers.thickness_nm)] = layers.lumen
            if number:
                self.objects[window.slices][inside] = number
            grey = self.grey[window.slices]
            outer, inner = self.cover(depth), self.cover(depth - np.float32(layers.thickness_nm))
            drawn = grey + (np.float32(layers.membrane_grey) - grey) * outer
            drawn += np.float32(layers.lumen_grey - layers.membrane_grey) * inner
            np.copyto(grey, drawn, where=free)
        self.keep_off(window, depth)
        return inside
