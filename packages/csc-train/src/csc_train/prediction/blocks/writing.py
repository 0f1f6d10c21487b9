"""Writing what is finished of a block in a thread, while the rest is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block


class SlabWriter:
    """Writes a block to arrays, whole chunks at a time.

    Use as a context manager: leaving it waits until all is written, and raises what went wrong. After an error within
    it, nothing more is written.

    Parameters
    ----------
    arrays : sequence
        A zarr array for each class.
    block : Block
        Where the slabs belong.
    depth : int
        Voxels along z of what is written at a time.
    """

    def __init__(self, arrays: Sequence[Any], block: Block, depth: int) -> None:
        self._arrays, self._block, self._depth = arrays, block, depth
        self._queue: queue.Queue[tuple[int, npt.NDArray[Any]] | None] = queue.Queue()
        # One slab is filled, then written: planes are finished as many at a time, while the network does the next ones.
        self._free: queue.Queue[npt.NDArray[Any] | None] = queue.Queue()
        self._free.put(None)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._slab: npt.NDArray[Any] | None = None
        self._written = self._filled = 0

    def __enter__(self) -> SlabWriter:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._error = self._error or RuntimeError("the block was given up")
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, planes: npt.NDArray[Any]) -> None:
        """Take the next planes (C, n, y, x) along z."""
        taken = 0
        while taken < planes.shape[1]:
            if self._slab is None:
                depth = min(self._depth, self._block.shape[0] - self._written)
                self._slab = self._empty(planes.dtype)[:, :depth]
            count = min(self._slab.shape[1] - self._filled, planes.shape[1] - taken)
            self._slab[:, self._filled : self._filled + count] = planes[:, taken : taken + count]
            taken, self._filled = taken + count, self._filled + count
            if self._filled == self._slab.shape[1]:
                self._queue.put((self._written, self._slab))
                self._written, self._filled, self._slab = self._written + self._filled, 0, None

    def _empty(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return room for a slab, always the same: new pages of memory cost much."""
        slab = self._free.get()
        return np.empty((len(self._arrays), self._depth, *self._block.shape[1:]), dtype=dtype) if slab is None else slab

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            z, slab = item
            _, y, x = self._block.write
            begin = self._block.begin[0] + z
            try:
                # After an error nothing is written, but whoever puts must not wait forever.
                for array, values in zip(self._arrays, slab, strict=True) if self._error is None else ():
                    array[begin : begin + len(values), y, x] = values
            except BaseException as error:  # noqa: BLE001  # handed to the thread that computes
                self._error = error
            self._free.put(slab if slab.base is None else slab.base)
