"""Positions of a patch's voxels, computed on a device: the very whole numbers that the compiled loops count.

See `csc_data.loader.sources.gathering.rows`. A row is begun in float64, and counted along in int64: thus a device and
a processor agree to the last bit, but for rounding of 1e-11 voxels where a processor fuses two operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.loader.device.regions import send_table
from csc_data.loader.sources.gathering.rows import ONE, straight_piece
from csc_data.loader.sources.holding.regions import VoxelIndex
from csc_data.loader.sources.level_map import LevelMap


class RowPositions:
    """Positions in voxels of a grid, in units of 2^-32, of a patch that is turned or bent.

    Parameters
    ----------
    on : LevelMap
        The patch's map.
    shape : tuple of int
        Of the patch.
    shift : float
        What is added to positions, in voxels.
    begin : ndarray of int64
        The voxel that positions are counted from.
    device : torch.device
    """

    def __init__(
        self, on: LevelMap, shape: tuple[int, int, int], shift: float, begin: VoxelIndex, device: torch.device
    ) -> None:
        self._on, self._shape, self._device = on, shape, device
        self._first = self._tensor(begin.reshape(3, 1, 1, 1) << 32)
        coefficients = np.column_stack([on.m, on.t + shift]).reshape(3, 4, 1, 1, 1)
        self._along_z, self._along_y, self._along_x, self._offset = self._tensor(coefficients).unbind(1)
        self._bent = on.displacement.shape[1] > 0
        points = on.displacement.shape[3]
        starts, pieces = _straight_pieces(on.place, points if self._bent else 1, shape[2])
        self._starts, self._pieces = self._tensor(starts), self._tensor(pieces) if len(starts) > 1 else None
        self._beyond = self._tensor(np.arange(shape[2]) - starts[pieces])
        if self._bent:
            factor, offset = on.place[2]
            cells = np.clip((factor * starts + offset).astype(np.int64), 0, max(points - 2, 0))
            self._field = self._tensor(on.displacement)
            self._factor, self._rest = float(factor), self._tensor(offset - cells)
            self._cells = self._tensor(cells), self._tensor(np.minimum(cells + 1, points - 1))
            self._rows = [self._neighbours(axis) for axis in (0, 1)]

    def units(self, planes: slice) -> Tensor:
        """Return positions along z, y and x of the grid, of some planes of the patch; int64 (3, planes, y, x)."""
        z = torch.arange(planes.start, planes.stop, dtype=torch.float64, device=self._device).reshape(-1, 1, 1)
        y = torch.arange(self._shape[1], dtype=torch.float64, device=self._device).reshape(1, -1, 1)
        begin, step = self._along_z * z + self._along_y * y + self._offset, self._along_x
        if self._bent:
            bend, slope = self._bend(planes)
            begin, step = begin.add(bend), step + slope
        units: Tensor = ((begin + step * self._starts) * ONE).to(torch.int64) - self._first
        steps = (step * ONE).to(torch.int64)
        if self._pieces is None:
            return units + self._beyond * steps
        return units.index_select(3, self._pieces).add_(steps.index_select(3, self._pieces).mul_(self._beyond))

    def _bend(self, planes: slice) -> tuple[Tensor, Tensor]:
        """Return the displacement at voxel 0 of the straight pieces of rows, if they went on so far, and its slope."""
        (i0, j0, f0), (i1, j1, f1) = self._rows
        f0, f1 = f0[planes].reshape(-1, 1, 1), f1.reshape(1, -1, 1)
        ends = []
        for points in (i0[planes], j0[planes]):
            across = self._field.index_select(1, points)
            ends.append(_between(across.index_select(2, i1), across.index_select(2, j1), f1))
        line = ends[0] + (ends[1] - ends[0]) * f0
        low, high = (line.index_select(3, cells) for cells in self._cells)
        rise = high - low
        return low + self._rest * rise, self._factor * rise

    def _neighbours(self, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the grid points before and behind each voxel of the patch along z or y, and the share of the way."""
        points = self._on.displacement.shape[1 + axis]
        factor, offset = self._on.place[axis]
        at = np.clip(factor * np.arange(self._shape[axis]) + offset, 0.0, points - 1.0)
        before = np.minimum(at.astype(np.int64), max(points - 2, 0))
        return self._tensor(before), self._tensor(np.minimum(before + 1, points - 1)), self._tensor(at - before)

    def _tensor(self, values: npt.NDArray[Any]) -> Tensor:
        return send_table(values, self._device)


def _between(low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    return low.to(torch.float64) + (high - low).to(torch.float64) * share


def _straight_pieces(
    place: npt.NDArray[np.float64], points: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where the straight pieces begin that each row consists of, and which of them each voxel is in."""
    starts, line, bend = [0], np.zeros((3, max(points, 1))), np.zeros((2, 3))
    while (stop := straight_piece(line, place, starts[-1], width, bend)) < width:
        starts.append(stop)
    pieces = np.searchsorted(starts, np.arange(width), side="right") - 1
    return np.array(starts, dtype=np.int64), pieces.astype(np.int64)
