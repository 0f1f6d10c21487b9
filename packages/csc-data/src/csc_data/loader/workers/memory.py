"""The memory that batches lie in: used again in this process, and shared where another one loads."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import CscError
from csc_data.wording import format_bytes

if TYPE_CHECKING:
    from torch import Tensor

_SPARE_BATCHES = 2  # one is looked at while the next one is filled


class BatchMemoryError(CscError, MemoryError):
    """A batch does not fit into memory."""


class SpareMemory:
    """Memory of earlier batches, for later ones: fresh pages cost a fifth of the time that a batch takes.

    What is given out comes back when nothing looks at it any more, no tensor, view or array, however that is found
    out: a tensor made of an array holds that very array for as long as its storage lives.

    Examples
    --------
    >>> memory = SpareMemory()
    >>> tensor = memory.allocate((2, 3))
    >>> tuple(tensor.shape), memory.spare_bytes
    ((2, 3), 0)
    >>> del tensor
    >>> memory.spare_bytes
    24
    """

    def __init__(self) -> None:
        self._spare: dict[int, list[memoryview]] = {}

    def allocate(self, shape: Sequence[int]) -> Tensor:
        """Return a tensor of float32 with any values, at whose memory nobody else looks.

        Raises
        ------
        BatchMemoryError
            If there is not as much memory.
        """
        import torch

        spare = self._spare.setdefault(math.prod(shape), [])
        try:
            buffer = spare.pop()
        except IndexError:
            buffer = _fresh(shape)
        # Views of an array hold the one at their root. A buffer is not an array, so that root is this one.
        lease = np.frombuffer(buffer, dtype=np.float32)
        weakref.finalize(lease, _give_back, spare, buffer).atexit = False
        return torch.from_numpy(lease.reshape(shape))

    @property
    def spare_bytes(self) -> int:
        """Bytes that are kept and that nobody looks at."""
        return sum(buffer.nbytes for spare in self._spare.values() for buffer in spare)


def _fresh(shape: Sequence[int]) -> memoryview:
    try:
        return np.empty(math.prod(shape), dtype=np.float32).data
    except MemoryError as error:
        count, channels, *voxels = shape
        raise BatchMemoryError(
            f"a batch of {count} patches of {tuple(voxels)} voxels with {channels} channels takes "
            f"{format_bytes(4 * math.prod(shape))}, which is more memory than there is; take a smaller batch_size or "
            "input_array_info"
        ) from error


def _give_back(spare: list[memoryview], buffer: memoryview) -> None:
    if len(spare) < _SPARE_BATCHES:
        spare.append(buffer)


def allocate_shared(shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Tensor:
    """Return a tensor whose memory needs no copy on its way to the process that trains.

    torch's own shared memory lies in /dev/shm, which containers limit to 64 MB; a batch beyond that is a bus error.
    Memory of a file without a name is the same to torch, and only the machine's memory limits it.

    Examples
    --------
    >>> tuple(allocate_shared((2, 3)).shape)
    (2, 3)
    """
    import torch
    from torch.multiprocessing import get_sharing_strategy

    empty = torch.from_numpy(np.empty(0, dtype))
    count = max(1, math.prod(shape)) * empty.element_size()
    by_descriptor = get_sharing_strategy() == "file_descriptor"  # type: ignore[no-untyped-call]
    if by_descriptor and hasattr(os, "memfd_create"):
        file = os.memfd_create("csc-batch")
        try:
            os.ftruncate(file, count)
            storage = torch.UntypedStorage._new_shared_fd_cpu(file, count)  # type: ignore[attr-defined]
        finally:
            os.close(file)  # the storage has a descriptor of its own
    else:
        storage = torch.UntypedStorage._new_shared(count)  # type: ignore[no-untyped-call]
    return empty.set_(storage, 0, tuple(shape))  # type: ignore[call-overload,no-any-return]


def as_shared(values: npt.NDArray[Any]) -> Tensor:
    """Return a tensor with a copy of values, in memory of `allocate_shared`; torch would copy them into its own.

    Examples
    --------
    >>> as_shared(np.array([1.0, 2.0], np.float32)).tolist()
    [1.0, 2.0]
    """
    tensor = allocate_shared(values.shape, values.dtype)
    tensor.numpy()[...] = values
    return tensor
