"""Reading and scaling the patches of blocks ahead of the network, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block
from csc_data.errors import CscError
from csc_data.geometry import Grid
from csc_data.loader import RawSource
from csc_train.prediction.tiling import Tile, Tiling

ItemT = TypeVar("ItemT")

_AHEAD = 3  # batches that wait to be predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchBatch:
    """Patches that go through the network together.

    Attributes
    ----------
    block : int
        The block they belong to.
    tiles : tuple of Tile
    values : ndarray
        float32, shape (B, 1, z, y, x); (B, 1, y, x) for flat patches.
    last : bool
        Whether the block has no further ones.
    """

    block: int
    tiles: tuple[Tile, ...]
    values: npt.NDArray[np.float32]
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadBlock:
    """A block whose patches could not be read.

    Attributes
    ----------
    block : int
    error : CscError or OSError
        Why.
    """

    block: int
    error: CscError | OSError


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReader:
    """Reads the patches of blocks.

    Attributes
    ----------
    raw : RawSource
        Of the crop.
    grid : Grid
        Of the output.
    tiling : Tiling
    raw_range : pair of float
    batch_size : int
    """

    raw: RawSource
    grid: Grid
    tiling: Tiling
    raw_range: tuple[float, float]
    batch_size: int

    def batches(self, blocks: Iterable[Block]) -> Iterator[PatchBatch]:
        """Yield the batches of blocks, block after block; none holds patches of two blocks."""
        for block in blocks:
            tiles = list(self.tiling.tiles(self.grid, block))
            for start in range(0, len(tiles), self.batch_size):
                group = tuple(tiles[start : start + self.batch_size])
                yield PatchBatch(
                    block=block.index,
                    tiles=group,
                    values=np.stack([self._patch(tile) for tile in group]),
                    last=start + self.batch_size >= len(tiles),
                )

    def batches_or_failures(self, blocks: Iterable[Block]) -> Iterator[PatchBatch | UnreadBlock]:
        """Yield the batches of blocks; where one cannot be read, yield the reason instead of its rest, and go on."""
        for block in blocks:
            try:
                yield from self.batches([block])
            except (CscError, OSError) as error:
                yield UnreadBlock(block=block.index, error=error)

    def _patch(self, tile: Tile) -> npt.NDArray[np.float32]:
        values = tile.orientation.turn(self.raw.read(tile.input, self.raw_range))[np.newaxis]
        return values[:, 0] if self.tiling.patch.input.flat else values


class Ahead(Generic[ItemT]):
    """Runs an iterator in a thread, some items ahead; its errors are raised where the items are used.

    Use as a context manager: leaving it stops the thread.
    """

    def __init__(self, items: Iterator[ItemT], count: int = _AHEAD) -> None:
        self._queue: queue.Queue[tuple[ItemT | None, BaseException | None]] = queue.Queue(maxsize=count)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)

    def __enter__(self) -> Ahead[ItemT]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[ItemT]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    def _fill(self, items: Iterator[ItemT]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((None, None))
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for items
            self._put((None, error))

    def _put(self, entry: tuple[ItemT | None, BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
