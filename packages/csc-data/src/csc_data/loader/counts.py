"""How much of each class is known and present in a crop, and where its k-th voxel is.

Only counts per plane are kept, never lists of positions, so memory does not grow with the number of voxels. Nothing
is written beside the annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.encoding import PRESENT, UNKNOWN, Codes
from csc_data.geometry import Grid
from csc_data.loader.placement import Position

_SLAB_VOXELS = 1 << 24

ReadCodes = Callable[[Grid], Codes]
"""Gives the codes, shape (C, z, y, x), of a lattice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCounts:
    """Voxels of each class, at the voxel size of the targets.

    Attributes
    ----------
    present, known : mapping
        Class name to number of voxels.
    """

    present: Mapping[str, int]
    known: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropCounts:
    """Counts of one crop.

    Attributes
    ----------
    lattice : Grid
        The crop's own lattice, at the voxel size of the targets.
    present : ndarray
        Voxels present per class and plane, shape (C, z).
    known : ndarray
        Voxels known per class, shape (C,).
    """

    lattice: Grid
    present: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]


def count_crop(read: ReadCodes, lattice: Grid) -> CropCounts:
    """Count a crop, some planes at a time."""
    step = max(1, _SLAB_VOXELS // max(1, lattice.shape[1] * lattice.shape[2]))
    present, known = [], []
    for start in range(0, lattice.shape[0], step):
        planes = min(step, lattice.shape[0] - start)
        codes = read(lattice.window((start, 0, 0), (planes, *lattice.shape[1:])))
        present.append(np.count_nonzero(codes == PRESENT, axis=(2, 3)))
        known.append(np.count_nonzero(codes != UNKNOWN, axis=(1, 2, 3)))
    return CropCounts(lattice=lattice, present=np.concatenate(present, axis=1), known=np.sum(known, axis=0))


def find_voxel(read: ReadCodes, counts: CropCounts, channel: int, number: int) -> Position:
    """Return the position of the k-th present voxel of a class in the crop's lattice, z slowest."""
    cumulative = np.cumsum(counts.present[channel])
    z = int(np.searchsorted(cumulative, number, side="right"))
    before = int(cumulative[z - 1]) if z else 0
    _, height, width = counts.lattice.shape
    plane = read(counts.lattice.window((z, 0, 0), (1, height, width)))[channel, 0]
    flat = int(np.flatnonzero(plane == PRESENT)[number - before])
    return z, flat // width, flat % width


def count_classes(crops: Sequence[CropCounts], classes: Sequence[str]) -> ClassCounts:
    """Add up the counts of crops."""
    present = sum((c.present.sum(axis=1) for c in crops), np.zeros(len(classes), dtype=np.int64))
    known = sum((c.known for c in crops), np.zeros(len(classes), dtype=np.int64))
    return ClassCounts(
        present={name: int(n) for name, n in zip(classes, present, strict=True)},
        known={name: int(n) for name, n in zip(classes, known, strict=True)},
    )
