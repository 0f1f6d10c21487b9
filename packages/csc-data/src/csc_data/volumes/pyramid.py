"""Coarser levels of a volume that is stored already, made block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.volumes.output import open_output_array
from csc_data.volumes.volume import downsampled_grid, open_volume

Merging = Literal["mean", "majority", "most frequent"]
"""Numbers are averaged; of masks (0 and 1) the more frequent value is taken, 1 on a tie; of ids the most frequent."""


def level_grids(grid: Grid, count: int) -> list[Grid]:
    """Return the grids of levels s0, s1, ..., each half as fine as the one before.

    An axis of one voxel stays as it is; so there are fewer levels where nothing is left to halve. The last voxel of an
    odd axis is one of its own, so that no border is lost.

    >>> grid = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(1, 5, 8))
    >>> [(level.shape, level.translation) for level in level_grids(grid, 2)]
    [((1, 5, 8), (0.0, 0.0, 0.0)), ((1, 3, 4), (0.0, 2.0, 2.0))]
    """
    grids = [grid]
    while len(grids) < count and max(grids[-1].shape) > 1:
        last = grids[-1]
        factors = _factors(last.shape)
        coarse = downsampled_grid(last, factors)
        shape = [-(-n // f) for n, f in zip(last.shape, factors, strict=True)]
        grids.append(Grid(voxel_size=coarse.voxel_size, translation=coarse.translation, shape=shape))
    return grids


def _factors(shape: Shape) -> Shape:
    return as_shape([min(2, n) for n in shape])


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelBlock:
    """Writes a block of level ``s{number}`` from the level before, for some volumes of one shape; can be pickled.

    Attributes
    ----------
    folders : tuple of Path
        The volumes; their arrays are there.
    number : int
        From 1.
    merging : {"mean", "majority", "most frequent"}
    """

    folders: tuple[Path, ...]
    number: int
    merging: Merging

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        for folder in self.folders:
            levels = {level.name: level for level in open_volume(folder).levels}
            source = levels[f"s{self.number - 1}"].array
            factors = _factors(source.shape)
            box = tuple(
                slice(f * b, min(f * (b + n), size))
                for f, b, n, size in zip(factors, block.begin, block.shape, source.shape, strict=True)
            )
            target = open_output_array(folder / f"s{self.number}")
            target[block.write] = merge(np.asarray(source[box]), factors, self.merging)


def merge(values: npt.NDArray[Any], factors: Shape, merging: Merging) -> npt.NDArray[Any]:
    """Merge blocks of voxels; the outermost ones are repeated where an axis does not divide.

    >>> merge(np.array([[[0, 1, 255]]], dtype="u1"), (1, 1, 2), "mean").tolist()
    [[[1, 255]]]
    >>> merge(np.array([[[65534, 65535]]], dtype="u2"), (1, 1, 2), "mean").tolist()
    [[[65535]]]
    >>> merge(np.array([[[0, 1, 0]]], dtype="u1"), (1, 1, 2), "majority").tolist()
    [[[1, 0]]]
    >>> merge(np.array([[[0, 7, 255, 255]]], dtype="u1"), (1, 1, 2), "most frequent").tolist()
    [[[7, 255]]]
    """
    padding = [(0, -n % f) for n, f in zip(values.shape, factors, strict=True)]
    even = np.pad(values, padding, mode="edge") if any(after for _, after in padding) else values
    whole = np.issubdtype(values.dtype, np.integer)
    corners = [even[z :: factors[0], y :: factors[1], x :: factors[2]] for z, y, x in np.ndindex(*factors)]
    if merging == "most frequent":
        return _most_frequent(corners)
    exact = np.uint16 if values.dtype == np.uint8 else np.float64 if whole else np.float32
    total: npt.NDArray[Any] = np.zeros(corners[0].shape, dtype=exact)
    for corner in corners:
        total += corner
    count = len(corners)
    if merging == "majority":
        return (2 * total >= count).astype(values.dtype)
    return ((total + count // 2) // count if whole else total / count).astype(values.dtype)


def _most_frequent(corners: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the most frequent value of each block; the largest on a tie, so that thin objects do not vanish."""
    best = corners[0].copy()
    most = np.zeros(best.shape, dtype=np.uint8)
    for corner in corners:
        votes = np.zeros(best.shape, dtype=np.uint8)
        for other in corners:
            votes += other == corner
        better = (votes > most) | ((votes == most) & (corner > best))
        np.copyto(best, corner, where=better)
        np.copyto(most, votes, where=better)
    return best
