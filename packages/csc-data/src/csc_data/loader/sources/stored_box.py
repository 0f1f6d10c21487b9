"""Which part of raw around a crop is stored: what was fetched ends somewhere, and beyond raw is mirrored, not black.

In a folder a chunk that is not there may have been left out when raw was fetched, or be empty. Where it lies decides:
the crop itself is always fetched whole, so there it is empty; beyond, what is stored ends before it. A bucket holds
everything that there is.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.geometry import Roi
from csc_data.storage.paths import is_remote
from csc_data.volumes import Level

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredBox:
    """The box around a crop in which all chunks of a level are stored.

    Attributes
    ----------
    begin, end : ndarray of int64
        In voxels of the level; a side at which nothing is lacking is that of the volume.
    is_cut : bool
        Whether it ends before what may be read, by more than the two voxels that only interpolation takes.
    chunks, empty : int
        Chunks that hold the crop, and how many of these are not stored.
    """

    begin: Index
    end: Index
    is_cut: bool = False
    chunks: int = 0
    empty: int = 0


def find_stored_box(level: Level, crop: Roi, reach: Roi) -> StoredBox:
    """Find out where raw is stored around a crop.

    The box grows from the crop's chunks by whole layers, one on each side in turn, until a layer lacks a chunk. A side
    that gets as far as the reach counts as stored up to the end of the volume.

    Parameters
    ----------
    level : Level
    crop, reach : Roi
        nm; chunks beyond the reach are not looked for.
    """
    size = np.asarray(level.grid.shape, dtype=np.int64)
    source = level.array.source if isinstance(level.array, ChunkedArray) else None
    if not isinstance(source, StoredChunks) or is_remote(source.path):
        return StoredBox(begin=np.zeros(3, dtype=np.int64), end=size)
    chunk = np.asarray(source.chunks, dtype=np.int64)

    # Row 0 is where a box begins, row 1 where it ends.
    def voxels_of(roi: Roi) -> Index:
        first, window = level.grid.window_covering(roi)
        begin: Index = np.clip(np.asarray(first, dtype=np.int64), 0, size)
        return np.stack([begin, np.clip(np.asarray(first, dtype=np.int64) + window.shape, begin, size)])

    def chunks_of(voxels: Index) -> Index:
        return np.stack([voxels[0] // chunk, -(-voxels[1] // chunk)])

    wanted = voxels_of(reach)
    box, limits = chunks_of(voxels_of(crop)), chunks_of(wanted)
    stamps = _stamps(source, box)
    growing = [(side, axis) for side in (0, 1) for axis in range(3)] if stamps else []
    lacking = []
    while growing:
        for side, axis in list(growing):
            if (box[0, axis] <= limits[0, axis]) if side == 0 else (box[1, axis] >= limits[1, axis]):
                growing.remove((side, axis))
                continue
            layer = box.copy()
            layer[:, axis] = (box[0, axis] - 1, box[0, axis]) if side == 0 else (box[1, axis], box[1, axis] + 1)
            if None in _stamps(source, layer):
                growing.remove((side, axis))
                lacking.append((side, axis))
            else:
                box[side, axis] += 2 * side - 1
    ends = np.stack([np.zeros(3, dtype=np.int64), size])
    for side, axis in lacking:
        ends[side, axis] = box[side, axis] * chunk[axis]
    is_cut = any(abs(int(ends[side, axis] - wanted[side, axis])) > 2 for side, axis in lacking)
    return StoredBox(begin=ends[0], end=ends[1], is_cut=is_cut, chunks=len(stamps), empty=stamps.count(None))


def _stamps(source: StoredChunks, box: Index) -> list[Hashable]:
    """Return the state of the chunks of a box; None for those that are not stored."""
    return source.stamps(list(itertools.product(*(range(int(b), int(e)) for b, e in box.T))))
