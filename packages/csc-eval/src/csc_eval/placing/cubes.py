"""The portal's resampling of large sources: cube by cube, each as if it were alone, so that seams show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from csc_eval.placing.placed import Placed
from csc_eval.placing.resample import Resampled, resampled_shape
from csc_eval.voxels.arrays import Array, Shape, VoxelSource

CUBE = 297
"""Edge of the portal's cubes in voxels of the source: 100 MiB at four bytes a voxel."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a cube covers along an axis: voxels of the source, and of the view."""

    begin: int
    end: int
    out_begin: int
    out_end: int


class ResampledCubes:
    """A view of a volume at another voxel size, resampled in cubes of the source; later cubes lie over earlier ones.

    A cube's result begins at int(begin * scale) and is max(1, round(n * scale)) voxels long, so results may overlap,
    or leave a gap of zeros between them.

    Parameters
    ----------
    source : VoxelSource
        The volume.
    scale : sequence of float
        Voxel size of the source over that of the view, per axis.
    order : {0, 1}
        0: nearest, values keep their dtype. 1: linear, values are float32.
    edge : int
        Edge of the cubes, in voxels of the source.
    """

    def __init__(self, source: VoxelSource, scale: Sequence[float], order: Literal[0, 1], edge: int = CUBE) -> None:
        self.source = source
        self.interpolation: Literal[0, 1] = order
        self.scale = tuple(scale)
        self.shape = resampled_shape(source.shape, scale)
        self.order: Literal["C", "F"] = "C"
        self.dtype: np.dtype[Any] = source.dtype if order == 0 else np.dtype(np.float32)
        self._pieces = [_pieces(n, out, s, edge) for n, out, s in zip(source.shape, self.shape, scale, strict=True)]
        self._cubes: dict[tuple[int, ...], Resampled] = {}
        z, y, x = (max(1, int(chunk * s)) for chunk, s in zip(source.chunks, scale, strict=True))
        self.chunks: Shape = (min(z, 64), y, x)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box of the view."""
        out = np.zeros([e - b for b, e in zip(begin, end, strict=True)], self.dtype)
        meeting = [
            [piece for piece in pieces if piece.out_begin < e and b < piece.out_end]
            for pieces, b, e in zip(self._pieces, begin, end, strict=True)
        ]
        for cube in itertools.product(*meeting):  # in the portal's order: z slowest
            low = [max(b, piece.out_begin) for b, piece in zip(begin, cube, strict=True)]
            high = [min(e, piece.out_end) for e, piece in zip(end, cube, strict=True)]
            values = self._resampled(cube).read(
                [b - piece.out_begin for b, piece in zip(low, cube, strict=True)],
                [e - piece.out_begin for e, piece in zip(high, cube, strict=True)],
            )
            out[tuple(slice(b - o, e - o) for b, e, o in zip(low, high, begin, strict=True))] = values
        return out

    def _resampled(self, cube: Sequence[_Piece]) -> Resampled:
        key = tuple(piece.begin for piece in cube)
        if key not in self._cubes:
            z, y, x = (piece.end - piece.begin for piece in cube)
            alone = Placed(self.source, [-begin for begin in key], (z, y, x))
            self._cubes[key] = Resampled(alone, self.scale, self.interpolation)
        return self._cubes[key]


def _pieces(length: int, out_length: int, scale: float, edge: int) -> list[_Piece]:
    pieces = []
    for begin in range(0, length, edge):
        end = min(begin + edge, length)
        out_begin = int(begin * scale)
        out_end = min(out_begin + max(1, round((end - begin) * scale)), out_length)
        if out_begin < out_end:
            pieces.append(_Piece(begin, end, out_begin, out_end))
    return pieces
