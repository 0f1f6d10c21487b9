"""Volumes that are computed a block at a time, as somebody looks at them.

What computes is somebody else's (`BlockSource`); here is who asked for what, in which order it is done, and what is
kept of it.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import CscError
from csc_data.geometry import Grid, Shape
from csc_data.volumes import Level, Volume

BlockIndex = tuple[int, ...]
Values = npt.NDArray[Any]
BlockFuture = Future[Values]

DEFAULT_BYTES = 512 << 20
"""What is kept of blocks that were computed."""

_COARSER = 4  # voxels to a pixel from which on nothing is computed
_SMALLEST = 64
_MOST_FAILURES = 10


class BlockSource(Protocol):
    """Computes blocks of a volume that has several values at each voxel; compared by identity."""

    @property
    def grid(self) -> Grid:
        """Of the volume."""

    @property
    def block_shape(self) -> Shape:
        """Voxels of a block; those at the end are smaller."""

    @property
    def channels(self) -> int:
        """How many values there are at a voxel."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""

    def compute(self, index: BlockIndex) -> Values:
        """Return a block by its number along each axis, shape (C, z, y, x)."""

    def __hash__(self) -> int: ...


class BlockWorker:
    """Computes blocks in one thread: what was asked for last comes first, what nobody waits for is left out.

    A block that cannot be computed is empty, and its error is told; it is tried again when it is asked for again.

    Parameters
    ----------
    failed : callable
        Called with a line for each kind of error, in that thread.
    most_bytes : int
        Of blocks that are kept, those that were used last.
    """

    def __init__(self, failed: Callable[[str], None], most_bytes: int = DEFAULT_BYTES) -> None:
        self._failed, self._most_bytes = failed, most_bytes
        self._changed = threading.Condition()
        self._waiting: OrderedDict[tuple[BlockSource, BlockIndex], list[BlockFuture]] = OrderedDict()
        self._kept: OrderedDict[tuple[BlockSource, BlockIndex], Values] = OrderedDict()
        self._kept_bytes = 0
        self._told: set[Hashable] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="live-blocks", daemon=True)
        self._thread.start()

    def ask(self, source: BlockSource, index: BlockIndex) -> BlockFuture:
        """Ask for a block; who does not want it any more cancels what is returned.

        After `close` nothing is computed, and what is asked for is cancelled.
        """
        future: BlockFuture = Future()
        key = source, index
        with self._changed:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                future.set_result(kept)
            elif self._closed:
                future.cancel()
            else:
                self._waiting.setdefault(key, []).append(future)
                self._waiting.move_to_end(key)
                self._changed.notify()
        return future

    def close(self, timeout: float = 10.0) -> None:
        """End it; what is being computed is waited for, up to some seconds."""
        with self._changed:
            self._closed = True
            for futures in self._waiting.values():
                for future in futures:
                    future.cancel()
            self._changed.notify()
        self._thread.join(timeout)

    def __enter__(self) -> BlockWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (key := self._next()) is not None:
            source, index = key
            try:
                values = source.compute(index)
            except Exception as error:  # noqa: BLE001  # whatever a network raises: the other blocks may be well
                self._tell(error)
                self._finish(key, None)
            else:
                self._finish(key, values)

    def _next(self) -> tuple[BlockSource, BlockIndex] | None:
        """Wait for something to do, and return the block that was asked for last; None at the end."""
        with self._changed:
            while not self._closed:
                while self._waiting:
                    key, futures = next(reversed(self._waiting.items()))
                    if not all(future.cancelled() for future in futures):
                        return key  # it stays there, so that who asks meanwhile gets it as well
                    del self._waiting[key]
                self._changed.wait()
        return None

    def _finish(self, key: tuple[BlockSource, BlockIndex], values: Values | None) -> None:
        """Keep a block, and give it to those who wait for it."""
        source, index = key
        if values is None:
            ends = zip(index, source.block_shape, source.grid.shape, strict=True)
            values = np.zeros((source.channels, *(min(b, n - i * b) for i, b, n in ends)), source.dtype)
        else:
            self._keep(key, values)
        with self._changed:
            futures = self._waiting.pop(key)
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_result(values)

    def _keep(self, key: tuple[BlockSource, BlockIndex], values: Values) -> None:
        with self._changed:
            self._kept[key] = values
            self._kept_bytes += values.nbytes
            while self._kept_bytes > self._most_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def _tell(self, error: Exception) -> None:
        text = str(error) if isinstance(error, CscError) else f"{type(error).__name__}: {error}"
        if text in self._told or len(self._told) > _MOST_FAILURES:
            return
        self._told.add(text)
        last = "; further errors are not shown" if len(self._told) > _MOST_FAILURES else ""
        with suppress(OSError, ValueError):  # nobody reads what is printed any more
            self._failed(f"a block stays empty: {text}{last}")


class LiveArray:
    """One of the values of a volume that is computed, as an array that is read by slices.

    Parameters
    ----------
    worker : BlockWorker
    source : BlockSource
    channel : int
        Which of its values.
    """

    ndim = 3

    def __init__(self, worker: BlockWorker, source: BlockSource, channel: int) -> None:
        self._worker, self._source, self._channel = worker, source, channel
        self.shape, self.dtype, self.chunks = source.grid.shape, source.dtype, source.block_shape

    def ask(self, index: BlockIndex) -> BlockFuture:
        """Ask for a block, all of its values; `take` has those of this array."""
        return self._worker.ask(self._source, index)

    def take(self, values: Values) -> Values:
        """Return what is this array's of a block."""
        taken: Values = values[self._channel]
        return taken

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Values:
        bounds = [part.indices(n)[:2] for part, n in zip(box, self.shape, strict=True)]
        out = np.zeros([max(0, e - b) for b, e in bounds], self.dtype)
        if not out.size:
            return out
        axes = [range(b // c, -(-e // c)) for (b, e), c in zip(bounds, self.chunks, strict=True)]
        asked = {index: self.ask(index) for index in itertools.product(*axes)}
        for index, future in asked.items():
            values = self.take(future.result())
            to, of = [], []
            for i, c, n, (b, e) in zip(index, self.chunks, values.shape, bounds, strict=True):
                first, last = max(b, i * c), min(e, i * c + n)
                to.append(slice(first - b, last - b))
                of.append(slice(first - i * c, last - i * c))
            out[tuple(to)] = values[tuple(of)]
        return out


def live_volume(worker: BlockWorker, source: BlockSource, channel: int, name: str) -> Volume:
    """Return one of the values of a source as a volume.

    Its coarser levels are empty: somebody who looks at all of a large volume from afar would ask for thousands of
    blocks, so nothing is computed until there are less than four voxels to a pixel.

    Parameters
    ----------
    worker : BlockWorker
    source : BlockSource
    channel : int
    name : str
        What the volume is called in messages.
    """
    grid = source.grid
    levels = [Level(name="s0", grid=grid, array=LiveArray(worker, source, channel))]
    while max(grid.shape) > _SMALLEST:
        grid = Grid.covering(grid.bounds, [_COARSER * size for size in grid.voxel_size])
        nothing = np.broadcast_to(np.zeros((), source.dtype), grid.shape)
        levels.append(Level(name=f"s{len(levels)}", grid=grid, array=nothing))
    return Volume(path=name, levels=tuple(levels), attributes={})
