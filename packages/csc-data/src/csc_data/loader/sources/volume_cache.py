"""Crops held in memory, decoded, up to a number of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_data.formats.cache import ByteCache
from csc_data.geometry import Grid, Roi, as_shape
from csc_data.volumes import Level, Volume

DEFAULT_BYTES = 1 << 30


class VolumeCache(ByteCache[npt.NDArray[Any]]):
    """Keeps the parts of volumes that are read again and again, least recently used ones leave first.

    Parameters
    ----------
    max_bytes : int
        Most bytes that are held; a part that is larger than a quarter of it is not held, but read from its chunks
        each time.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        super().__init__(max_bytes)

    def hold(self, volume: Volume, roi: Roi, voxel_size: Sequence[float]) -> Volume:
        """Return a volume that gives the same values within a box in nm, from memory where it fits.

        Parameters
        ----------
        volume : Volume
        roi : Roi
            All positions that will be read lie in it.
        voxel_size : sequence of float
            The voxel size that will be read at, in nm.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged.
        """
        level = volume.level_for(voxel_size)
        begin, grid = _window(level.grid, roi, voxel_size)
        if grid.size == 0 or grid.size * level.dtype.itemsize > self.max_bytes // 4:
            return volume
        key = (volume.path, level.name, begin, grid.shape)
        data = self.find(key)
        if data is None:
            data = _read(volume, level, begin, grid)
            self.keep(key, data, data.nbytes)
        held = Level(name=level.name, grid=grid, array=data)
        return Volume(path=volume.path, levels=(held,), attributes=volume.attributes)


def _window(source: Grid, roi: Roi, voxel_size: Sequence[float]) -> tuple[tuple[int, int, int], Grid]:
    """Return the voxels that reads within a box need, clipped to the volume."""
    begins, ends = [], []
    for axis in range(3):
        low, high = source.bounds.begin[axis], source.bounds.end[axis]
        first, last = roi.begin[axis], roi.end[axis]
        # Raw is mirrored beyond the faces of the volume: the same length of the inside is needed, and one voxel more.
        mirrored_begin = 2 * high - last - 2 * voxel_size[axis] if last > high else first
        mirrored_end = 2 * low - first + 2 * voxel_size[axis] if first < low else last
        # A centre half a voxel inside the box is interpolated from centres up to one stored voxel away.
        margin = 1.5 * source.voxel_size[axis]
        begins.append(min(first, mirrored_begin) - margin)
        ends.append(max(last, mirrored_end) + margin)
    begin, window = source.window_covering(Roi(tuple(begins), tuple(ends)))
    clipped_begin = [min(max(b, 0), n) for b, n in zip(begin, source.shape, strict=True)]
    clipped_end = [min(max(b + n, 0), m) for b, n, m in zip(begin, window.shape, source.shape, strict=True)]
    shape = as_shape([max(0, e - b) for b, e in zip(clipped_begin, clipped_end, strict=True)])
    z, y, x = clipped_begin
    return (z, y, x), source.window((z, y, x), shape)


def _read(volume: Volume, level: Level, begin: tuple[int, int, int], grid: Grid) -> npt.NDArray[Any]:
    box = tuple(slice(b, b + n) for b, n in zip(begin, grid.shape, strict=True))
    try:
        return np.asarray(level.array[box])
    except (RuntimeError, ValueError, OSError) as error:  # what numcodecs and stores raise for bad chunks
        raise UnreadableDataError(f"{volume.path}/{level.name}: a chunk cannot be read: {error}") from error
