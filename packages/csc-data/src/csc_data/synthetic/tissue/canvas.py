"""The volume under construction: objects are drawn into it one by one, each on its own tight box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class
from csc_data.geometry import Shape, Triple

Field: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Point: TypeAlias = npt.NDArray[np.float64]

CYTO = get_class("cyto").id


@dataclass(frozen=True, slots=True)
class Window:
    """A box of voxels and where their centres are.

    Attributes
    ----------
    slices : tuple of slice
        The box in the volume.
    z, y, x : numpy.ndarray
        nm positions of the voxel centres from the volume's first corner, shaped to broadcast against each other.
    """

    slices: tuple[slice, slice, slice]
    z: Field
    y: Field
    x: Field

    @property
    def shape(self) -> Shape:
        """Voxels per axis."""
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    def positions(self, mask: Mask) -> tuple[Field, Field, Field]:
        """Return the nm positions z, y, x of the voxels of a mask, in raster order, each of shape (n,)."""
        z, y, x = np.nonzero(mask)
        return self.z[z, 0, 0], self.y[0, y, 0], self.x[0, 0, x]


@dataclass(slots=True)
class Canvas:
    """Atomic classes, organelle ids and cell ids of a volume that is being drawn.

    Attributes
    ----------
    voxel_size : tuple of float
        nm, z, y, x.
    atoms : numpy.ndarray of uint8
        Id of the atomic class of each voxel; extracellular space at the start.
    objects : numpy.ndarray of uint32
        Id of the organelle that a voxel belongs to, unique over all classes; 0 outside.
    cells : numpy.ndarray of uint16
        Id of the cell, from 1; 0 outside.
    """

    voxel_size: Triple
    atoms: npt.NDArray[np.uint8]
    objects: npt.NDArray[np.uint32]
    cells: npt.NDArray[np.uint16]
    _last_id: int = field(default=0, init=False)

    @classmethod
    def blank(cls, shape: Shape, voxel_size: Triple) -> Canvas:
        """Return a volume of extracellular space."""
        return cls(
            voxel_size,
            np.full(shape, get_class("ecs").id, np.uint8),
            np.zeros(shape, np.uint32),
            np.zeros(shape, np.uint16),
        )

    @property
    def extent(self) -> Point:
        """Edge lengths in nm."""
        return np.array(self.atoms.shape, np.float64) * np.array(self.voxel_size, np.float64)

    def new_id(self) -> int:
        """Return an organelle id that nobody has yet."""
        self._last_id += 1
        return self._last_id

    def window(self, low: Sequence[float] | Point, high: Sequence[float] | Point) -> Window | None:
        """Return the voxels of a box in nm, clipped to the volume; None when it lies outside."""
        slices, axes = [], []
        for axis, (b, e, v, n) in enumerate(zip(low, high, self.voxel_size, self.atoms.shape, strict=True)):
            start, stop = max(0, int(b // v)), min(n, int(e // v) + 1)
            if stop <= start:
                return None
            slices.append(slice(start, stop))
            shape = [1, 1, 1]
            shape[axis] = stop - start
            centres: Field = ((np.arange(start, stop) + 0.5) * v).astype(np.float32)
            axes.append(centres.reshape(shape))
        return Window((slices[0], slices[1], slices[2]), axes[0], axes[1], axes[2])

    def whole(self) -> Window:
        """Return all voxels."""
        window = self.window((0.0, 0.0, 0.0), self.extent)
        assert window is not None
        return window

    def atom_at(self, point: Point) -> int:
        """Return the atomic class at a position in nm, or at the volume's voxel that is nearest to it."""
        index = tuple(
            min(max(int(p // v), 0), n - 1) for p, v, n in zip(point, self.voxel_size, self.atoms.shape, strict=True)
        )
        return int(self.atoms[index])

    def atoms_at(self, points: Point) -> npt.NDArray[np.uint8]:
        """Return the atomic classes at positions in nm, shape (n, 3); those outside count as cytosol."""
        index = np.floor(points / np.array(self.voxel_size)).astype(np.intp)
        inside = ((index >= 0) & (index < np.array(self.atoms.shape))).all(axis=1)
        atoms = np.full(len(index), CYTO, np.uint8)
        atoms[inside] = self.atoms[tuple(index[inside].T)]
        return atoms

    def is_free(self, window: Window, mask: Mask) -> bool:
        """Tell whether all voxels of the mask are cytosol."""
        return bool(np.all(self.atoms[window.slices][mask] == CYTO))

    def paint(self, window: Window, mask: Mask, class_name: str, object_id: int | None = None) -> None:
        """Give the voxels of the mask an atomic class, and an organelle id where one is given."""
        self.atoms[window.slices][mask] = get_class(class_name).id
        if object_id is not None:
            self.objects[window.slices][mask] = object_id
