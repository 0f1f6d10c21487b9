"""How much of each class is known and present in a crop, and where its k-th voxel is.

Only counts per plane are kept, never lists of positions, so memory does not grow with the number of voxels. Nothing
is written beside the annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Grid
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import PatchMap
from csc_data.loader.poses.placement import Position
from csc_data.loader.sources.packing import TooManyCombinationsError
from csc_data.volumes.annotation_values import PRESENT, UNKNOWN, Codes

_SLAB_VOXELS = 1 << 24  # read at a time
_COUNTED_AT_ONCE = 1 << 20  # voxels, or counts of combinations of classes
_MOST_ROWS = 1 << 22  # kept as counts: 8 MB of a crop

ReadClass = Callable[[int, Grid], Codes]
"""Gives where one class is present, shape (z, y, x), on a grid."""


class Labels(Protocol):
    """The labels of a crop."""

    def gather(self, patch_map: PatchMap, array: ArrayInfo, out: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """Fill a patch of uint16 with numbers of combinations of classes; return what each is in each class, (C, P)."""
        ...

    def read(self, grid: Grid) -> Codes:
        """Return the codes, shape (C, z, y, x), of a grid."""
        ...


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
    grid : Grid
        The crop's own grid, at the voxel size of the targets.
    present : ndarray
        Voxels present per class and plane, shape (C, z).
    known : ndarray
        Voxels known per class, shape (C,).
    rows : ndarray, optional
        Voxels present per class and row along x, shape (C, z, y), unless there are too many rows to keep.
    """

    grid: Grid
    present: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    rows: npt.NDArray[Any] | None = None


def count_crop(labels: Labels, grid: Grid) -> CropCounts:
    """Count a crop, some planes at a time."""
    depth, height, width = grid.shape
    step = max(1, _SLAB_VOXELS // max(1, height * width))
    rows, present, known = [], [], []
    for start in range(0, depth, step):
        in_rows, in_all = _count(labels, grid.window((start, 0, 0), (min(step, depth - start), height, width)))
        present.append(in_rows.sum(axis=2, dtype=np.int64))
        known.append(in_all)
        if len(in_rows) * depth * height <= _MOST_ROWS:
            rows.append(in_rows.astype(np.uint16 if width < 1 << 16 else np.int32))
    return CropCounts(
        grid=grid,
        present=np.concatenate(present, axis=1),
        known=np.sum(known, axis=0),
        rows=np.concatenate(rows, axis=1) if rows else None,
    )


def _count(labels: Labels, grid: Grid) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return how many voxels are present in each row, shape (C, z, y), and known in all, shape (C,)."""
    depth, height, width = grid.shape
    numbers = np.empty(grid.shape, dtype=np.uint16)
    try:
        values = labels.gather(*PatchMap.upright(grid), numbers[np.newaxis])
    except TooManyCombinationsError:
        values = None
    if values is None:
        codes = labels.read(grid)
        known = np.count_nonzero(codes != UNKNOWN, axis=(1, 2, 3))
        return np.count_nonzero(codes == PRESENT, axis=3), known
    # However many classes there are, voxels are looked at once: to count the combinations in each row.
    combinations = values.shape[1]
    present = (values == 1).T.astype(np.float32)
    rows = np.empty((depth * height, len(values)), dtype=np.int64)
    total = np.zeros(combinations, dtype=np.int64)
    step = max(1, _COUNTED_AT_ONCE // max(combinations, width))
    for start in range(0, len(rows), step):
        some = numbers.reshape(-1, width)[start : start + step]
        number = some + np.arange(len(some))[:, np.newaxis] * combinations
        counts = np.bincount(number.reshape(-1), minlength=len(some) * combinations).reshape(len(some), combinations)
        rows[start : start + step] = counts.astype(np.float32) @ present
        total += counts.sum(axis=0)
    return rows.T.reshape(-1, depth, height), ~np.isnan(values) @ total


def find_voxel(read: ReadClass, counts: CropCounts, channel: int, number: int) -> Position:
    """Return the position of the k-th present voxel of a class in the crop's grid, z slowest."""
    z, number = _find_in(counts.present[channel], number)
    _, height, width = counts.grid.shape
    if counts.rows is None:
        codes = read(channel, counts.grid.window((z, 0, 0), (1, height, width)))[0]
        y, x = divmod(int(np.flatnonzero(codes == PRESENT)[number]), width)
        return z, y, x
    y, number = _find_in(counts.rows[channel, z], number)
    codes = read(channel, counts.grid.window((z, y, 0), (1, 1, width)))[0, 0]
    return z, y, int(np.flatnonzero(codes == PRESENT)[number])


def _find_in(counts: npt.NDArray[Any], number: int) -> tuple[int, int]:
    """Return which of the counts the k-th element of all belongs to, and its number within that count."""
    cumulative = np.cumsum(counts)
    index = int(np.searchsorted(cumulative, number, side="right"))
    return index, number - (int(cumulative[index - 1]) if index else 0)


def count_classes(crops: Sequence[CropCounts], classes: Sequence[str]) -> ClassCounts:
    """Add up the counts of crops.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(2, 4, 4))
    >>> crop = CropCounts(grid=grid, present=np.array([[3, 4]]), known=np.array([32]), rows=None)
    >>> count_classes([crop, crop], ["nuc"])
    ClassCounts(present={'nuc': 14}, known={'nuc': 64})
    """
    present = sum((c.present.sum(axis=1) for c in crops), np.zeros(len(classes), dtype=np.int64))
    known = sum((c.known for c in crops), np.zeros(len(classes), dtype=np.int64))
    return ClassCounts(
        present={name: int(n) for name, n in zip(classes, present, strict=True)},
        known={name: int(n) for name, n in zip(classes, known, strict=True)},
    )
