"""Volumes as run lengths: what is left of a label volume once it has been read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_eval._native import call
from csc_eval.voxels.arrays import Array, Shape, VoxelSource

MAX_RUNS = 2**31 - 1

BOX_EDGE = 128

BYTES_PER_RUN = 72
"""Peak memory per run: itself, its label and its place in the order by label, twice while buffers grow."""

BYTES_PER_INSTANCE = 160
"""Peak memory per instance: its measures, its row in the overlap table, and the matching."""

TOO_FRAGMENTED = "too fragmented for the memory granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """A volume's foreground as runs along x, in raster order.

    Attributes
    ----------
    shape : tuple of int
        Shape of the volume, z, y, x.
    line_ptr : int64 array, (nz * ny + 1,)
        Runs of line z * ny + y are ``line_ptr[line]:line_ptr[line + 1]``.
    start, stop : int32 arrays
        The run covers x in ``[start, stop)``.
    key : uint64 array
        The value: integers sign-extended, floats as the bits of a double.
    dtype : numpy.dtype
        Type of the values that the keys stand for.
    order : {"C", "F"}
        Memory order of the volume, which decides how components are numbered.
    """

    shape: Shape
    line_ptr: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    key: npt.NDArray[np.uint64]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]

    def __len__(self) -> int:
        return len(self.start)


class TooFragmentedError(UnreadableDataError):
    """A volume has more runs than the memory that was granted can hold."""


def iterate_slabs(source: VoxelSource, thickness: int) -> Iterator[tuple[int, Array]]:
    """Read a volume in slabs of some planes each; yields the first plane's index and the slab."""
    nz, ny, nx = source.shape
    for z in range(0, nz, thickness):
        yield z, source.read((z, 0, 0), (min(z + thickness, nz), ny, nx))


def iterate_boxes(shape: Shape, chunks: Shape) -> Iterator[tuple[Shape, Shape]]:
    """Yield first and last plus one voxel of boxes that cover a volume, in raster order.

    They are whole chunks, about `BOX_EDGE` long: larger chunks are cut, smaller ones taken several at a time.
    """
    edges = [min(c, BOX_EDGE) * max(1, BOX_EDGE // c) for c in chunks]
    starts = [range(0, n, edge) for n, edge in zip(shape, edges, strict=True)]
    for z, y, x in itertools.product(*starts):
        yield (z, y, x), (min(z + edges[0], shape[0]), min(y + edges[1], shape[1]), min(x + edges[2], shape[2]))


def slab_thickness(source: VoxelSource) -> int:
    """Return how many planes to read at once, so that every chunk is decoded once."""
    return min(source.shape[0], source.chunks[0])


def encode_runs(source: VoxelSource, *, max_runs: int = MAX_RUNS) -> Runs:
    """Read a volume slab by slab and keep its run lengths.

    Raises
    ------
    TooFragmentedError
        If there are more than `max_runs` runs.
    """
    nz, ny, nx = source.shape
    max_runs = min(max_runs, MAX_RUNS)
    line_ptr = np.zeros(nz * ny + 1, np.int64)
    # The kernel begins a row only where a run for each of its voxels would fit, so `max_runs` needs room for one more.
    buffers = _Buffers(capacity=min(max_runs, max(nx, 65536)) + nx)
    for z, slab in iterate_slabs(source, slab_thickness(source)):
        voxels = _encodable(slab)
        lines = voxels.shape[0] * ny
        rows = voxels.reshape(lines, nx)
        done = 0
        while True:
            done += buffers.encode(rows[done:], line_ptr[z * ny + done :])
            if buffers.count > max_runs:
                raise TooFragmentedError(
                    f"{TOO_FRAGMENTED}: its foreground has more than {max_runs} runs of equal values along x; "
                    "give more memory (--memory), or clean the prediction if it is noise"
                )
            if done == lines:
                break
            buffers.grow(2 * buffers.capacity)
    start, stop, key = buffers.trimmed()
    return Runs(
        shape=source.shape, line_ptr=line_ptr, start=start, stop=stop, key=key, dtype=source.dtype, order=source.order
    )


def _encodable(slab: Array) -> Array:
    if slab.dtype == np.bool_:
        slab = slab.view(np.uint8)
    elif slab.dtype.itemsize not in (1, 2, 4, 8) or (slab.dtype.kind == "f" and slab.dtype.itemsize < 4):
        slab = slab.astype(np.float32)
    return np.ascontiguousarray(slab)


class _Buffers:
    """Growing arrays of runs."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.start = np.empty(capacity, np.int32)
        self.stop = np.empty(capacity, np.int32)
        self.key = np.empty(capacity, np.uint64)

    def encode(self, rows: Array, line_ptr: npt.NDArray[np.int64]) -> int:
        """Encode rows while they fit; returns how many did."""
        count = np.array([self.count], np.int64)
        kernel = f"encode_{rows.dtype.kind}{rows.dtype.itemsize}"
        done = call(
            kernel, rows, rows.shape[0], rows.shape[1], line_ptr, self.start, self.stop, self.key, count, self.capacity
        )
        self.count = int(count[0])
        return done

    def grow(self, capacity: int) -> None:
        """Make room."""
        self.capacity = capacity
        for name in ("start", "stop", "key"):
            old = getattr(self, name)
            new = np.empty(capacity, old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)

    def trimmed(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """Return the runs without the room left."""
        return self.start[: self.count].copy(), self.stop[: self.count].copy(), self.key[: self.count].copy()
