"""A loader's samples one after the other, as an iterable data set of torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from csc_data.errors import InvalidArgumentError
from csc_data.loader.batches import PatchLoader
from csc_data.loader.workers.memory import allocate_shared

_MOST_WORKERS = 1024


class SampleStream(IterableDataset[dict[str, torch.Tensor]]):
    """The samples of a loader, epoch after epoch: those that it would give itself, in the same order.

    Each iteration is the next epoch, or the one that `set_epoch` chose, also for workers that live already. Workers of
    torch's loader share an epoch batch by batch, so that with the loader's batch size its very batches come. Processes
    that train together have the samples of the loader's ``rank`` and ``world_size``; a framework that divides one
    stream between processes, as Accelerate does, must get a loader of world size 1.

    Parameters
    ----------
    loader : PatchLoader
    endless : bool
        Go on with the next epoch instead of ending.
    """

    def __init__(self, loader: PatchLoader, *, endless: bool = False) -> None:
        self.loader = loader
        self.endless = endless
        # The next epoch of each worker: they begin anew with each iteration, and this stays.
        self._epochs = allocate_shared((_MOST_WORKERS,), np.int64).zero_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self._epochs.fill_(epoch)

    def __len__(self) -> int:
        """Samples of an epoch.

        Raises
        ------
        TypeError
            If it is endless.
        """
        if self.endless:
            raise TypeError("an endless stream has no length")
        return sum(map(len, self.loader.indices(0)))

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if worker >= _MOST_WORKERS:
            raise InvalidArgumentError(f"a stream serves {_MOST_WORKERS} workers, got {workers}")
        return self._samples(worker, workers)

    def _samples(self, worker: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
        for turn in itertools.count():
            if turn and not self.endless:
                return
            epoch = int(self._epochs[worker])
            self._epochs[worker] += 1
            for numbers in itertools.islice(self.loader.indices(epoch), worker, None, workers):
                for number in numbers:
                    sample = self.loader.patches[number]
                    yield {name: torch.from_numpy(values) for name, values in sample.items()}
