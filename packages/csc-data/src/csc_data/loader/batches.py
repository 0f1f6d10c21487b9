"""Batches of samples for a training loop."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who loads.

    Attributes
    ----------
    rank, world_size : int
        This process and the number of processes that train together; each gets other samples.
    num_workers : int
        Processes that load; 0 loads in this one.
    device : str, optional
        Where batches are put; they stay in the memory of the CPU by default.
    """

    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    device: str | None = None


class PatchLoader:
    """Batches of samples, the same ones whatever the number of workers.

    Each time it is iterated over it gives the batches of its epoch, and moves on to the next; `set_epoch` goes to a
    certain one. Of several processes that train together each gets samples of its own. Of the first batch it logs how
    much of each class is known and present.

    Attributes
    ----------
    patches : TrainingPatches or ValidationPatches
        Where samples come from.
    batch_size : int
    epoch : int
        The epoch that comes next, from 0.
    num_workers : int
        Processes that load.
    device : str or None
        Where batches are put.
    """

    def __init__(
        self,
        patches: TrainingPatches | ValidationPatches,
        *,
        batch_size: int,
        batches: int,
        workers: Workers = Workers(),
    ) -> None:
        import torch
        from torch.utils.data import DataLoader

        self.patches = patches
        self.batch_size = batch_size
        self.epoch = 0
        self.num_workers = workers.num_workers
        self.device = workers.device
        self._under_way = 0
        self._described = False
        self._batches = batches
        self._rank, self._world_size = workers.rank, workers.world_size
        self._loader: DataLoader[Any] = DataLoader(
            _WholeBatches(patches),  # type: ignore[arg-type]  # torch asks it for all samples of a batch at once
            batch_sampler=_Indices(self),
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # and what it gives is a batch already
            num_workers=workers.num_workers,
            persistent_workers=workers.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: the global one belongs to the model, and must not depend on the loader.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        # At once and not at the end: loops drop an iterator before its end, and want other samples the next time.
        self._under_way, self.epoch = self.epoch, self.epoch + 1
        return self._batches_of(iter(self._loader))

    def _batches_of(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if not self._described:
                self._described = True
                self._describe(batch)
            if self.device is None:
                yield batch
            else:
                yield {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _describe(self, batch: Batch) -> None:
        for line in describe_batch({name: tensor.numpy() for name, tensor in batch.items()}, self.patches):
            _log.info(line)

    def indices(self) -> Iterator[list[int]]:
        """Yield the numbers of the samples of each batch of the epoch under way."""
        return self._indices_of(self._under_way)

    def _indices_of(self, epoch: int) -> Iterator[list[int]]:
        if isinstance(self.patches, ValidationPatches):
            numbers = range(self._rank, len(self.patches), self._world_size)
            for start in range(self._batches):
                yield list(numbers[start * self.batch_size : (start + 1) * self.batch_size])
            return
        share = self._batches * self.batch_size
        # Each process has a row of its own that goes on from epoch to epoch: neighbours in it share crops.
        first = (self._rank << 40) + epoch * share
        for start in range(first, first + share, self.batch_size):
            yield list(range(start, start + self.batch_size))


def describe_batch(
    batch: dict[str, npt.NDArray[np.float32]], patches: TrainingPatches | ValidationPatches
) -> list[str]:
    """Say how much of each class is known and present in a batch; a line a class, and one of raw.

    Parameters
    ----------
    batch : dict of ndarray
        Arrays (B, C, ...).
    patches : TrainingPatches or ValidationPatches
        Where they come from.
    """
    usage = "training" if isinstance(patches, TrainingPatches) else "validation"
    lines = []
    for name in patches.reader.inputs:
        raw = batch[name]
        lines.append(
            f"first batch of {usage}: {name} {raw.shape}, {raw.min():g} to {raw.max():g}, mean {raw.mean():.3g}"
        )
    for name, kind in patches.reader.kinds.items():
        for channel, class_name in enumerate(kind.channel_names(patches.reader.classes)):
            values = batch[name][:, channel]
            known = ~np.isnan(values)
            present = np.count_nonzero(values[known] > 0.0)
            lines.append(
                f"  {name} {class_name}: {known.mean():.1%} known, {present / values.size:.1%} above 0, "
                f"{1 - known.mean():.1%} unknown"
            )
    return lines


_SPARE_BATCHES = 2


class _WholeBatches:
    """Samples, a batch at a time: written where the batch needs them, in memory that processes share."""

    def __init__(self, patches: TrainingPatches | ValidationPatches) -> None:
        self.patches = patches
        self._spare: dict[tuple[str, int], list[npt.NDArray[np.float32]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"patches": self.patches, "_spare": {}}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        import torch
        from torch.utils.data import get_worker_info

        allocate = self._reuse if get_worker_info() is None else _allocate_shared
        batch = {name: allocate(name, (len(indices), *shape)) for name, shape in self.patches.shapes().items()}
        self.patches.read_batch(indices, batch)
        tensors: Batch = self.patches.squeezed({name: torch.from_numpy(array) for name, array in batch.items()})
        return tensors

    def _reuse(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return memory of an earlier batch that nobody holds any more, else new: fresh pages cost a fifth of the time.

        A tensor made of an array holds a reference to it, as do all tensors and arrays that look at its memory.
        """
        spare = self._spare.setdefault((name, math.prod(shape)), [])
        for array in spare:
            if sys.getrefcount(array) <= _REFERENCES_OF_OURS:
                return array.reshape(shape)
        fresh = np.empty(math.prod(shape), dtype=np.float32)
        if len(spare) < _SPARE_BATCHES:
            spare.append(fresh)
        return fresh.reshape(shape)


_REFERENCES_OF_OURS = 3  # of the list, of the loop over it, and of the question itself


def _allocate_shared(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return memory that needs no copy on its way to the process that trains."""
    import torch

    storage = torch.UntypedStorage._new_shared(4 * math.prod(shape))  # type: ignore[no-untyped-call]
    array: npt.NDArray[np.float32] = torch.empty(0).set_(storage, 0, shape).numpy()  # type: ignore[call-overload]
    return array


def _as_it_is(batch: Batch) -> Batch:
    return batch


class _Indices:
    """The batch sampler of a `PatchLoader`: asks it anew for each epoch."""

    def __init__(self, owner: PatchLoader) -> None:
        self.owner = owner

    def __iter__(self) -> Iterator[list[int]]:
        return self.owner.indices()

    def __len__(self) -> int:
        return len(self.owner)
