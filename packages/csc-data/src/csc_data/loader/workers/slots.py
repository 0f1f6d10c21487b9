"""Places in shared memory for batches, used again and again: a fresh page costs more than what is written to it."""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.sources.holding.shared_memory import aligned
from csc_data.loader.workers.memory import allocate_shared

if TYPE_CHECKING:
    from torch import Tensor

_PAGE = 4096
_TABLES = 1 << 20  # bytes beside the arrays, such as what packed numbers stand for
_MADV_REMOVE = 9  # of Linux, on all processors

_numbers = itertools.count()
_slots_by_number: weakref.WeakValueDictionary[int, BatchSlots] = weakref.WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class SlotArray:
    """An array in a slot.

    Attributes
    ----------
    name, dtype : str
    shape : tuple of int
    offset : int
        Bytes from the beginning of the slot.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class FilledSlot:
    """What a worker says of a batch that it has written: some hundred bytes.

    Attributes
    ----------
    owner : int
        The number of the `BatchSlots`.
    slot : int
    arrays : tuple of SlotArray
    """

    owner: int
    slot: int
    arrays: tuple[SlotArray, ...]

    def pin_memory(self, device: object = None) -> dict[str, Tensor]:
        """Return the batch in memory that devices read directly; torch's thread for that asks for it."""
        return {name: tensor.pin_memory() for name, tensor in _slots_by_number[self.owner].open(self).items()}


class BatchSlots:
    """Shared memory for some batches: lent to workers by number, and lent anew when nobody looks at the batch any more.

    One process lends and opens; those that it starts write.

    Parameters
    ----------
    count : int
        Slots.
    shapes : iterable of tuple of int
        Of the float32 arrays of the largest batch.
    """

    def __init__(self, count: int, shapes: Sequence[Sequence[int]]) -> None:
        size = sum(aligned(4 * math.prod(shape)) for shape in shapes) + _TABLES
        self._size = -(-size // _PAGE) * _PAGE
        self._memory = allocate_shared((count * self._size,), np.uint8)
        self._free = list(range(count))
        self._asked: set[int] = set()
        self._number = next(_numbers)
        _slots_by_number[self._number] = self

    def __getstate__(self) -> dict[str, Any]:
        return {"_size": self._size, "_memory": self._memory, "_number": self._number}

    def lend(self) -> int | None:
        """Return the number of a slot at which nobody looks, the latest one first; None where there is none."""
        try:
            slot = self._free.pop()
        except IndexError:
            return None
        self._asked.add(slot)
        return slot

    def take_back(self) -> None:
        """Take all slots back that were lent and not opened: no worker writes to them any more."""
        self._free.extend(self._asked)
        self._asked.clear()

    def place(self, slot: int, like: Mapping[str, npt.NDArray[Any]]) -> FilledSlot | None:
        """Return where arrays of such shapes and types lie in a slot; None where they do not fit."""
        end, found = 0, []
        for name, array in like.items():
            found.append(SlotArray(name, array.dtype.str, array.shape, end))
            end = aligned(end + array.nbytes)
        return FilledSlot(self._number, slot, tuple(found)) if end <= self._size else None

    def views(self, filled: FilledSlot) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a slot, to be written."""
        return dict(_views(self._part(filled.slot), filled.arrays))

    def open(self, filled: FilledSlot) -> dict[str, Tensor]:
        """Return the batch that a worker has written; its slot is lent again when nothing looks at that any more."""
        import torch

        self._asked.discard(filled.slot)
        # Views of an array hold the one at their root: a memoryview is not an array, so that root is this one.
        lease = np.frombuffer(self._part(filled.slot).data, dtype=np.uint8)
        weakref.finalize(lease, self._free.append, filled.slot).atexit = False
        return {name: torch.from_numpy(view) for name, view in _views(lease, filled.arrays)}

    def free_memory(self) -> None:
        """Give the memory of all slots at which nobody looks back to the system; they can be lent even so."""
        if sys.platform != "linux":
            return
        library = ctypes.CDLL(None)
        for slot in self._free:
            start = self._memory.data_ptr() + slot * self._size
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(self._size), _MADV_REMOVE)

    def _part(self, slot: int) -> npt.NDArray[np.uint8]:
        part: npt.NDArray[np.uint8] = self._memory.numpy()[slot * self._size : (slot + 1) * self._size]
        return part


def _views(part: npt.NDArray[np.uint8], arrays: Sequence[SlotArray]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for array in arrays:
        dtype = np.dtype(array.dtype)
        end = array.offset + math.prod(array.shape) * dtype.itemsize
        yield array.name, part[array.offset : end].view(dtype).reshape(array.shape)
