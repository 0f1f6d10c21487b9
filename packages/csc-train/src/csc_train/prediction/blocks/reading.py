"""Reading and scaling patches ahead of the network, in a thread."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.geometry import Grid
from csc_data.loader import RawSource
from csc_data.loader.patches.value_transforms import ValueTransform, ValueTransforms
from csc_data.loader.poses.placement import Position
from csc_data.loader.poses.spatial import Orientation
from csc_train.prediction.window.tiling import Placement, Windows

ItemT = TypeVar("ItemT")
Patches = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchBatch:
    """Patches that go through the network together.

    Attributes
    ----------
    positions : tuple
        Where their windows begin, in voxels of the region.
    values : mapping of Tensor
        By the names of the network's arrays float32, shape (B, 1, z, y, x), along the patch's axes.
    """

    positions: tuple[Position, ...]
    values: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReader:
    """Reads the patches of a region.

    Attributes
    ----------
    raw : RawSource
    region : Grid
        Of the network's output.
    windows : Windows
    raw_range : pair of float
    transform : callable, optional
        What is applied to each patch, scaled already; see `csc_data.loader.patches.value_transforms`.
    batch_size : int
    """

    raw: RawSource
    region: Grid
    windows: Windows
    raw_range: tuple[float, float]
    transform: ValueTransform | None = None
    batch_size: int = 1

    def batches(self, placement: Placement, begin: Position, end: Position) -> Iterator[PatchBatch]:
        """Yield the patches of all windows that hold voxels of a box, in their order."""
        positions = placement.positions(begin, end)
        # Two batches are in use at a time, see `Ahead`: new pages of memory would cost as much as reading.
        arrays: tuple[dict[str, Patches], dict[str, Patches]] = ({}, {})
        for held in itertools.cycle(arrays):
            group = tuple(itertools.islice(positions, self.batch_size))
            if not group:
                return
            yield PatchBatch(positions=group, values=self._read(placement.orientation, group, held))

    def _read(
        self, orientation: Orientation, group: tuple[Position, ...], held: dict[str, Patches]
    ) -> dict[str, Tensor]:
        """Read the patches of a batch into arrays that are held, and made where there are none."""
        for number, position in enumerate(group):
            for name, grid in self.windows.inputs(self.region, orientation, position).items():
                if name not in held:
                    shape = [grid.shape[axis] for axis in orientation.world_axis]
                    held[name] = np.empty((self.batch_size, 1, *shape), np.float32)
                patch = held[name][number, 0]
                if orientation == Orientation():
                    self.raw.read(grid, self.raw_range, out=patch)
                else:
                    patch[...] = orientation.turn(self.raw.read(grid, self.raw_range))
                if self.transform is not None:
                    ValueTransforms(raw=self.transform).apply([patch], [], [], np.random.default_rng(0))
        return {name: torch.from_numpy(values[: len(group)]) for name, values in held.items()}


class Ahead(Generic[ItemT]):
    """Runs an iterator in a thread, an item ahead of the one that is used; its errors are raised where items are used.

    The next item is begun when the one before is taken: an item may be a hundred megabytes, and two are enough.
    Use as a context manager: leaving it stops the thread.
    """

    def __init__(self, items: Iterator[ItemT]) -> None:
        self._queue: queue.Queue[tuple[ItemT | None, BaseException | None]] = queue.Queue()
        self._wanted = threading.Semaphore(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)

    def __enter__(self) -> Ahead[ItemT]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wanted.release()
        self._thread.join()

    def __iter__(self) -> Iterator[ItemT]:
        while True:
            item, error = self._queue.get()
            self._wanted.release()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    def _fill(self, items: Iterator[ItemT]) -> None:
        item: ItemT | None = None
        try:
            while True:
                self._wanted.acquire()
                if self._stop.is_set():
                    return
                item = next(items, None)
                self._queue.put((item, None))
                if item is None:
                    return
                item = None  # not to be held while the next one is waited for
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for items
            self._queue.put((None, error))
