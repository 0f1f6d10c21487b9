"""Volumes as run lengths: what is left of a label volume once it has been read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError
from csc_eval._native import call
from csc_eval.voxels.arrays import Array, Shape, StoredArray, VoxelSource
from csc_eval.voxels.boxes import box_edges, box_shape, take_box

IntArray = npt.NDArray[np.int64]

MAX_RUNS = 2**31 - 1

SHORTEST_BOX = 32
"""Boxes shorter than this along x are not encoded by themselves: each would begin and end runs."""

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


def slab_thickness(source: VoxelSource) -> int:
    """Return how many planes to read at once, so that every chunk is decoded once.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> slab_thickness(MemoryArray(np.zeros((2, 2, 2)))) <= 2
    True
    """
    return min(source.shape[0], source.chunks[0])


def encode_runs(source: VoxelSource, *, max_runs: int = MAX_RUNS) -> Runs:
    """Read a volume once, box by box, and keep its run lengths.

    Raises
    ------
    TooFragmentedError
        If there are more than `max_runs` runs.

    Examples
    --------
    >>> from csc_eval.voxels.arrays import MemoryArray
    >>> runs = encode_runs(MemoryArray(np.array([[[0, 5, 5, 0, 7]]])))
    >>> runs.start.tolist(), runs.stop.tolist(), runs.key.tolist()
    ([1, 4], [3, 5], [5, 7])
    """
    return _Encoding(source, min(max_runs, MAX_RUNS)).run()


class _Encoding:
    """The runs of a volume that is being read."""

    def __init__(self, source: VoxelSource, max_runs: int) -> None:
        nz, ny, nx = source.shape
        self.source = source
        self.planes, self.rows, self.columns = box_edges(source.shape, _box_to_encode(source))
        self.line_ptr = np.zeros(nz * ny + 1, np.int64)
        self.found = _Buffers(min(max_runs, 65536) + nx, max_runs)
        self.of_slab = _Buffers(0, max_runs)

    def run(self) -> Runs:
        """Read all of it."""
        source, found = self.source, self.found
        _, ny, nx = source.shape
        for begin, end in itertools.pairwise(self.planes):
            line_ptr = self.line_ptr[begin * ny : end * ny + 1]
            if len(self.rows) == len(self.columns) == 2:
                found.encode(take_box(source, (begin, 0, 0), (end, ny, nx)), line_ptr)
            else:
                self._add_slab(begin, end, line_ptr)
            found.check()
        start, stop, key = found.filled()
        return Runs(
            shape=source.shape,
            line_ptr=self.line_ptr,
            start=start,
            stop=stop,
            key=key,
            dtype=source.dtype,
            order=source.order,
        )

    def _add_slab(self, begin: int, end: int, line_ptr: IntArray) -> None:
        """Encode boxes beside each other, then bring their runs into the order of the volume's lines."""
        part, rows, columns = self.of_slab, self.rows, self.columns
        # A border between boxes divides at most one run of a line.
        part.spare = (len(line_ptr) - 1) * (len(columns) - 2) - self.found.count
        part.count, length = 0, 0
        pointers: list[IntArray] = []
        places = np.full((len(rows) - 1, len(columns) - 1), -1, np.int64)
        for (r, y), (c, x) in itertools.product(
            enumerate(itertools.pairwise(rows)), enumerate(itertools.pairwise(columns))
        ):
            box = take_box(self.source, (begin, y[0], x[0]), (end, y[1], x[1]))
            if box is None:
                continue
            places[r, c] = length
            pointers.append(np.full((end - begin) * (y[1] - y[0]) + 1, part.count, np.int64))
            length += len(pointers[-1])
            part.encode(box, pointers[-1], x_first=x[0])
        if part.count == 0:
            line_ptr[1:] = self.found.count
            return
        needed = self.found.count + part.count
        # What follows is likely as full: room for it that stays untouched costs nothing, copying what is there does.
        self.found.reserve(needed, likely=needed * self.source.shape[0] // end)
        self.found.count = call(
            "join_boxes", end - begin, len(rows) - 1, len(columns) - 1, np.array(rows, np.int64), places,
            np.concatenate(pointers), part.start, part.stop, part.key, self.source.dtype.kind == "f",
            self.found.count, line_ptr, self.found.start, self.found.stop, self.found.key,
        )  # fmt: skip


def _box_to_encode(source: VoxelSource) -> Shape:
    """Return the boxes that runs are made of: as they are stored, unless that would cut runs into small pieces."""
    _, ny, nx = source.shape
    box = box_shape(source.shape, source.chunks)
    if isinstance(source, StoredArray) and box[2] >= min(nx, SHORTEST_BOX):
        return box
    return slab_thickness(source), ny, nx


def _encodable(box: Array) -> Array:
    """Return voxels that a kernel takes, contiguous along x."""
    if box.dtype == np.bool_:
        box = box.view(np.uint8)
    elif box.dtype.itemsize not in (1, 2, 4, 8) or (box.dtype.kind == "f" and box.dtype.itemsize < 4):
        box = box.astype(np.float32)
    return box if box.strides[2] == box.itemsize else np.ascontiguousarray(box)


class _Buffers:
    """Growing arrays of runs, `max_runs` at most, and as many more as `spare` says."""

    def __init__(self, capacity: int, max_runs: int) -> None:
        self.capacity = capacity
        self.max_runs = max_runs
        self.spare = 0
        self.count = 0
        self.start = np.empty(capacity, np.int32)
        self.stop = np.empty(capacity, np.int32)
        self.key = np.empty(capacity, np.uint64)

    def encode(self, box: Array | None, line_ptr: IntArray, *, x_first: int = 0) -> None:
        """Add the runs of a box, whose lines begin at `x_first`; ``line_ptr`` gets where those of each line end.

        Raises
        ------
        TooFragmentedError
            If there are too many.
        """
        if box is None:
            line_ptr[1:] = self.count
            return
        voxels = _encodable(box)
        strides = np.array(voxels.strides, np.int64) // voxels.itemsize
        shape, count = np.array(voxels.shape, np.int64), np.array([self.count], np.int64)
        lines, done = len(line_ptr) - 1, 0
        # The kernel begins a line only where a run for each of its voxels would fit.
        self.reserve(self.count + voxels.shape[2])
        while done < lines:
            done = call(
                f"encode_{voxels.dtype.kind}{voxels.dtype.itemsize}", voxels.ctypes.data, shape, strides, x_first, done,
                line_ptr, self.start, self.stop, self.key, count, self.capacity,
            )  # fmt: skip
            self.count = int(count[0])
            self.check()
            if done < lines:
                self.reserve(2 * self.capacity)

    def check(self) -> None:
        """Raise `TooFragmentedError` if there are too many."""
        if self.count > self.max_runs + self.spare:
            raise TooFragmentedError(
                f"{TOO_FRAGMENTED}: its foreground has more than {self.max_runs} runs of equal values along x; "
                "give more memory (--memory), or clean the prediction if it is noise"
            )

    def reserve(self, capacity: int, likely: int = 0) -> None:
        """Make room for so many, and for more where there was too little: for as many as there will likely be."""
        if capacity <= self.capacity:
            return
        self.capacity = max(capacity, 5 * max(self.capacity, likely) // 4)
        for name in ("start", "stop", "key"):
            old = getattr(self, name)
            new = np.empty(self.capacity, old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)

    def filled(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """Return the runs; the room behind them was never touched, and so takes no memory."""
        return self.start[: self.count], self.stop[: self.count], self.key[: self.count]
