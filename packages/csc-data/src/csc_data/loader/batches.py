"""Batches of samples for a training loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csc_data.loader.packed import unpack_batch
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.places import PLACE_NAMES
from csc_data.loader.sources.raw import reaches_beyond
from csc_data.loader.workers.iteration import Iteration
from csc_data.loader.workers.pool import Batch, BatchForm, Pool, WorkerPool, WorkerPools, Workers

if TYPE_CHECKING:
    from typing import Self

    from csc_data.loader.dataset import SampleDataset

_log = logging.getLogger(__name__)

_NARROW = 0.05  # of raw_range: raw that spans less is scaled for another type than it uses


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
        Where batches are put; set it before the first of them to have them travel packed.
    """

    def __init__(
        self,
        patches: TrainingPatches | ValidationPatches,
        *,
        batch_size: int,
        batches: int,
        workers: Workers | None = None,
        form: BatchForm | None = None,
    ) -> None:
        workers, form = workers or Workers(), form or BatchForm()
        self.patches = patches
        self.batch_size = batch_size
        self.epoch = 0
        self.num_workers = workers.num_workers
        self.device = workers.device
        self._first_batch = 0
        self._described = False
        self._batches = batches
        self._rank, self._world_size = workers.rank, workers.world_size
        self._workers, self._form = workers, form
        self._pools = WorkerPools()

    @property
    def loader(self) -> Self:
        """Itself: where the official toolbox has torch's loader."""
        return self

    @cached_property
    def dataset(self) -> SampleDataset:
        """The samples of an epoch one by one, and how much of each class there is."""
        from csc_data.loader.dataset import SampleDataset

        training = isinstance(self.patches, TrainingPatches)
        return SampleDataset(self.patches, len(self) * self.batch_size * self._world_size if training else None)

    def refresh(self) -> None:
        """Do nothing: each iteration draws anew. Loops of the official toolbox call it before an epoch."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._batches

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration gives, and how many of its batches are left out."""
        self.epoch, self._first_batch = epoch, first_batch

    def __iter__(self) -> Iteration:
        # At once and not at the end: loops drop an iterator before its end, and want other samples the next time.
        epoch, self.epoch = self.epoch, self.epoch + 1
        first, self._first_batch = self._first_batch, 0
        pool = self._pools.take(self._make_pool)
        return Iteration(self._pools, pool, self.indices(epoch, first), self._finish)

    def _make_pool(self) -> Pool:
        if self._workers.gather_on == "device" and not self._form.packed:
            from csc_data.loader.device.batch_gatherer import BatchGatherer, why_not_on

            device = self.device or "cpu"
            reason = why_not_on(device, self.patches)
            if reason is None:
                return BatchGatherer(self.patches, device, with_positions=self._form.with_positions)
            _log.info("patches are gathered on the CPU: %s", reason)
        # What is small travels fast to a device, and is unpacked there.
        packed = self._form.packed or on_accelerator(self.device)
        form = replace(self._form, packed=packed)
        return WorkerPool(self.patches, self._workers, form, batch_size=self.batch_size)

    def _finish(self, batch: Batch) -> Batch:
        if not self._described:
            self._described = True
            dense = {name: tensor.cpu().numpy() for name, tensor in unpack_batch(batch).items()}
            for line in describe_batch(dense, self.patches):
                _log.info(line)
            for line in (*raw_doubts(dense, self.patches.reader), *self.patches.reader.raw_gaps()):
                _log.warning(line)
        if self.device is not None:
            # Places stay: they are looked up rather than computed with, and not every device knows float64.
            batch = {
                name: tensor if name in PLACE_NAMES else tensor.to(self.device, non_blocking=True)
                for name, tensor in batch.items()
            }
        return batch if self._form.packed else unpack_batch(batch)

    def indices(self, epoch: int, first_batch: int = 0) -> Iterator[list[int]]:
        """Yield the numbers of the samples of each batch of an epoch, in this process, from one on."""
        if isinstance(self.patches, ValidationPatches):
            numbers = range(self._rank, len(self.patches), self._world_size)
            for start in range(first_batch, self._batches):
                yield list(numbers[start * self.batch_size : (start + 1) * self.batch_size])
            return
        share = self._batches * self.batch_size
        # Each process has a row of its own that goes on from epoch to epoch: neighbours in it share crops.
        first = (self._rank << 40) + epoch * share
        for start in range(first + first_batch * self.batch_size, first + share, self.batch_size):
            yield list(range(start, start + self.batch_size))


def on_accelerator(device: str | None) -> bool:
    """Tell whether a device has memory of its own, to which batches travel.

    Examples
    --------
    >>> on_accelerator("cuda:0"), on_accelerator("cpu"), on_accelerator(None)
    (True, False, False)
    """
    return device is not None and device.partition(":")[0] not in ("cpu", "meta")


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


def raw_doubts(batch: Mapping[str, npt.NDArray[np.float32]], reader: PatchReader) -> list[str]:
    """Say where raw does not lie as its stored type makes one expect; a line for each array of it.

    Floats are taken to lie in 0 to 1, integers to use the range of their type.
    """
    types = {crop.raw.levels[0].dtype for crop in reader.crops} - {np.dtype(np.uint8)}
    stored = " or ".join(sorted(map(str, types)))
    low, high = reader.raw_range
    lines = []
    for name in reader.inputs if types else ():
        least, most = (float((end - low) / (high - low)) for end in (batch[name].min(), batch[name].max()))
        if reaches_beyond(least, most):
            lines.append(
                f"raw is stored as {stored}, of which floats are taken to lie in 0 to 1, and {name} of the first batch "
                f"goes from {least:.3g} to {most:.3g}; `csc convert --range LOW,HIGH` writes it as uint8"
            )
        elif 0 < most - least < _NARROW and not any(found.kind == "f" for found in types):
            lines.append(
                f"raw is stored as {stored}, and {name} of the first batch uses {most - least:.1%} of what that type "
                "holds, which is hard to learn from; `csc convert --range LOW,HIGH` writes it as uint8"
            )
    return lines
