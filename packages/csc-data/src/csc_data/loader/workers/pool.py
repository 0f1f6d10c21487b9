"""Processes that load, kept from one iteration to the next."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from csc_data.errors import InvalidArgumentError
from csc_data.loader.packed import read_packed
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.places import read_places
from csc_data.loader.workers.memory import SpareMemory, allocate_shared, as_shared

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]
StartMethod = Literal["fork", "forkserver", "spawn"]
GatherOn = Literal["auto", "cpu", "device"]

_log = logging.getLogger(__name__)

_NONE = -1  # the number of no iteration


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who loads.

    Attributes
    ----------
    rank, world_size : int
        This process and the number of processes that train together; each gets other samples.
    num_workers : int
        Processes that load; 0 loads in this one.
    start_method : str, optional
        How they are started: fork, forkserver or spawn; Python's default where None.
    device : str, optional
        Where batches are put; they stay in the memory of the CPU by default.
    packed : bool
        Whether batches stay in their small form; see `csc_data.loader.packed`.
    gather_on : {"auto", "cpu", "device"}
        Where patches are gathered, see `csc_data.loader.get_dataloader`.
    """

    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    start_method: StartMethod | None = None
    device: str | None = None
    packed: bool = False
    gather_on: GatherOn = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchForm:
    """What batches are made of, beside their samples.

    Attributes
    ----------
    with_positions : bool
        Whether they say where their samples come from.
    packed : bool
        Whether workers give them in the form of `csc_data.loader.packed`.
    """

    with_positions: bool = False
    packed: bool = False


class WholeBatches:
    """Samples as torch's loader asks for them, a batch at a time: written where the batch needs them.

    Attributes
    ----------
    patches : TrainingPatches or ValidationPatches
    form : BatchForm
    current : Tensor
        int64, the number of the iteration that is under way, shared by all processes. What an earlier one asked for
        is not wanted any more.
    """

    def __init__(self, patches: TrainingPatches | ValidationPatches, form: BatchForm) -> None:
        self.patches = patches
        self.form = form
        self.current: Tensor = allocate_shared((1,), np.int64)
        self._memory = SpareMemory()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memory": SpareMemory()}

    def __getitems__(self, asked: tuple[int, Sequence[int]]) -> Batch:
        import torch
        from torch.utils.data import get_worker_info

        iteration, indices = asked
        if iteration != self.current.item():
            return {}
        alone = get_worker_info() is None
        as_tensor = torch.from_numpy if alone else as_shared
        packed = read_packed(self.patches, indices) if self.form.packed else None
        if packed is not None:
            tensors = {name: as_tensor(values) for name, values in packed.items()}
        else:
            allocate = self._memory.allocate if alone else allocate_shared
            batch = {name: allocate((len(indices), *shape)) for name, shape in self.patches.shapes().items()}
            self.patches.read_batch(indices, {name: tensor.numpy() for name, tensor in batch.items()})
            tensors = self.patches.squeezed(batch)
        if self.form.with_positions:
            places = read_places(self.patches, indices)
            tensors |= {name: as_tensor(values) for name, values in places.items()}
        return tensors


class _Asked:
    """The batch sampler of torch's loader: what is to be loaded is said anew for each iteration."""

    def __init__(self) -> None:
        self.batches = (asked for asked in list[tuple[int, Sequence[int]]]())

    def __iter__(self) -> Iterator[tuple[int, Sequence[int]]]:
        return self.batches


def _as_it_is(batch: Batch) -> Batch:
    return batch


class WorkerPool:
    """Torch's loader and its processes, for one iteration after another; with 0 workers, this process.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
    workers : Workers
    form : BatchForm

    Raises
    ------
    InvalidArgumentError
        If a value transform cannot be sent to the workers.
    """

    def __init__(self, patches: TrainingPatches | ValidationPatches, workers: Workers, form: BatchForm) -> None:
        import torch
        from torch.utils.data import DataLoader

        count = workers.num_workers
        if count:
            _check_picklable(patches.values, workers.start_method or multiprocessing.get_start_method())
        self._process = os.getpid()
        self._asked = _Asked()
        self._batches = WholeBatches(patches, form)
        self._iteration = _NONE
        self._loader: DataLoader[Any] = DataLoader(
            self._batches,  # type: ignore[arg-type]  # torch asks it for all samples of a batch at once
            batch_sampler=self._asked,  # type: ignore[arg-type]  # which has no length
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # and what it gives is a batch already
            num_workers=count,
            persistent_workers=count > 0,
            multiprocessing_context=workers.start_method if count else None,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: the global one belongs to the model, and must not depend on the loader.
            generator=torch.Generator(),
        )
        self._running: Any = iter(())

    def start(self, batches: Iterator[list[int]]) -> None:
        """Begin to load batches, each given by the numbers of its samples."""
        self._iteration += 1
        iteration = self._iteration
        self._batches.current.fill_(iteration)
        self._asked.batches = ((iteration, indices) for indices in batches)
        self._running = iter(self._loader)

    def __next__(self) -> Batch:
        batch: Batch = next(self._running)
        return batch

    def cancel(self) -> None:
        """Let workers leave out what they were asked for and have not begun."""
        self._asked.batches.close()  # it may hold the loader, which holds this
        self._batches.current.fill_(_NONE)

    @property
    def dead(self) -> list[str]:
        """The workers that have ended, with their process and exit code."""
        # torch keeps them to itself, and asks them for batches even so.
        processes = getattr(self._running, "_workers", ())
        return [f"process {p.pid}, exit code {p.exitcode}" for p in processes if not p.is_alive()]

    def shut_down(self) -> None:
        """End the workers."""
        # What was forked has copies of its parent's pools, and must not end their workers.
        if os.getpid() == self._process and hasattr(self._running, "_shutdown_workers"):
            self._running._shutdown_workers()


class Pool(Protocol):
    """What gives the batches of one iteration after another: a `WorkerPool`, or who gathers them on a device."""

    @property
    def dead(self) -> list[str]:
        """The workers that have ended."""
        ...

    def start(self, batches: Iterator[list[int]], /) -> None:
        """Begin to load batches, each given by the numbers of its samples."""
        ...

    def __next__(self) -> Batch: ...

    def cancel(self) -> None:
        """Leave out what was asked for and is not begun."""
        ...

    def shut_down(self) -> None:
        """End the workers."""
        ...


class WorkerPools:
    """As many pools as iterations are under way; one of them stays for the next iteration."""

    def __init__(self) -> None:
        self._idle: list[Pool] = []

    def __reduce__(self) -> tuple[type[WorkerPools], tuple[()]]:
        return WorkerPools, ()  # processes stay with theirs

    def take(self, make: Callable[[], Pool]) -> Pool:
        """Return a pool that nobody uses and whose workers live, else make one."""
        while self._idle:
            pool = self._idle.pop()
            if not pool.dead:
                return pool
            _log.warning("workers that load batches have ended (%s): others are started", "; ".join(pool.dead))
            pool.shut_down()
        return make()

    def give_back(self, pool: Pool) -> None:
        """Keep a pool for the next iteration; a second one is shut down."""
        if self._idle or pool.dead:
            pool.shut_down()
        else:
            pool.cancel()
            self._idle.append(pool)


def _check_picklable(values: ValueTransforms, method: str) -> None:
    """Tell which of people's transforms cannot be sent to another process, before torch says it in its own words."""
    if method == "fork":
        return
    given: dict[str, Any] = {"raw_value_transforms": values.raw}
    if isinstance(values.target, Mapping):
        given |= {f"target_value_transforms of {name}": each for name, each in values.target.items()}
    else:
        given["target_value_transforms"] = values.target
    for name, transform in given.items():
        try:
            pickle.dumps(transform)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise InvalidArgumentError(
                f"{name} cannot be sent to workers that are started by {method}: {error}; define it at the top of a "
                f"module, or use start_method='fork' or num_workers=0"
            ) from error
