"""Processes that load, kept from one iteration to the next."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.loader.packed import read_packed
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.patches.value_transforms import ValueTransforms
from csc_data.loader.places import read_places
from csc_data.loader.workers.memory import SpareMemory, allocate_shared, as_shared
from csc_data.loader.workers.slots import BatchSlots, FilledSlot

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]
StartMethod = Literal["fork", "forkserver", "spawn"]
GatherOn = Literal["auto", "cpu", "device"]

_log = logging.getLogger(__name__)

_NONE = -1  # the number of no iteration
_AHEAD = 2  # batches that each worker is asked for: one that it loads, and one that it goes on with


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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker is to load.

    Attributes
    ----------
    iteration : int
        Which one asks.
    indices : sequence of int
        The samples of the batch.
    slot : int or None
        Where it is to be written in the memory that processes share.
    """

    iteration: int
    indices: Sequence[int]
    slot: int | None


class WholeBatches:
    """Samples as torch's loader asks for them, a batch at a time: written where the batch needs them.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
    form : BatchForm
    slots : BatchSlots, optional
        Where batches are written for another process; this one takes them by default.

    Attributes
    ----------
    current : Tensor
        int64, the number of the iteration that is under way, shared by all processes. What an earlier one asked for
        is not wanted any more.
    """

    def __init__(self, patches: TrainingPatches | ValidationPatches, form: BatchForm, slots: BatchSlots | None) -> None:
        self.current: Tensor = allocate_shared((1,), np.int64)
        self._patches = patches
        self._form = form
        self._slots = slots
        self._memory = SpareMemory()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memory": SpareMemory()}

    def __getitems__(self, asked: Asked) -> Batch | FilledSlot:
        if asked.iteration != self.current.item():
            return {}
        packed = read_packed(self._patches, asked.indices) if self._form.packed else None
        places = read_places(self._patches, asked.indices) if self._form.with_positions else {}
        known, shapes = {**(packed or {}), **places}, {}
        if packed is None:
            shapes = {name: (len(asked.indices), *shape) for name, shape in self._patches.shapes().items()}
        batch, views = self._memory_for(asked.slot, known, shapes)
        if shapes:
            # Without the z axis of flat patches, the bytes are the same ones.
            self._patches.read_batch(asked.indices, {name: views[name].reshape(shapes[name]) for name in shapes})
        return batch

    def _memory_for(
        self, slot: int | None, known: dict[str, npt.NDArray[Any]], shapes: dict[str, tuple[int, ...]]
    ) -> tuple[Batch | FilledSlot, dict[str, npt.NDArray[Any]]]:
        """Return a batch that has what is known, and its arrays of other shapes, still to be written."""
        import torch

        final = self._patches.squeezed({name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()})
        slots = self._slots
        filled = None if slots is None or slot is None else slots.place(slot, {**final, **known})
        if slots is None or filled is None:
            allocate: Callable[[Sequence[int]], Tensor] = self._memory.allocate if slots is None else allocate_shared
            as_tensor: Callable[[npt.NDArray[Any]], Tensor] = torch.from_numpy if slots is None else as_shared
            written = {name: allocate(like.shape) for name, like in final.items()}
            batch = {**written, **{name: as_tensor(values) for name, values in known.items()}}
            return batch, {name: tensor.numpy() for name, tensor in written.items()}
        views = slots.views(filled)
        for name, values in known.items():
            views[name][...] = values
        return filled, views


class _Sampler:
    """The batch sampler of torch's loader: what is to be loaded is said anew for each iteration."""

    def __init__(self) -> None:
        self.batches: Generator[Asked, None, None] = (asked for asked in list[Asked]())

    def __iter__(self) -> Iterator[Asked]:
        return self.batches


def _ask(iteration: int, batches: Iterator[list[int]], slots: BatchSlots | None) -> Generator[Asked, None, None]:
    """Yield what workers are to load and where, when torch's loader asks for it."""
    if slots is not None:
        slots.take_back()  # torch has waited for all that an earlier iteration asked for
    for indices in batches:
        yield Asked(iteration, indices, None if slots is None else slots.lend())


def _as_it_is(batch: Batch | FilledSlot) -> Batch | FilledSlot:
    return batch


class WorkerPool:
    """Torch's loader and its processes, for one iteration after another; with 0 workers, this process.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
    workers : Workers
    form : BatchForm
    batch_size : int
        The most samples of a batch.

    Raises
    ------
    InvalidArgumentError
        If a value transform cannot be sent to the workers.
    """

    def __init__(
        self, patches: TrainingPatches | ValidationPatches, workers: Workers, form: BatchForm, *, batch_size: int
    ) -> None:
        import torch
        from torch.utils.data import DataLoader

        count = workers.num_workers
        if count:
            _check_picklable(patches.values, workers.start_method or multiprocessing.get_start_method())
        self._process = os.getpid()
        self._slots: BatchSlots | None = None
        if count:
            # Those that torch asks for ahead, one that is looked at, and the next, before that one is dropped.
            largest = [(batch_size, *shape) for shape in patches.shapes().values()]
            self._slots = BatchSlots(count * _AHEAD + 2, largest)
        self._sampler = _Sampler()
        self._batches = WholeBatches(patches, form, self._slots)
        self._iteration = _NONE
        self._loader: DataLoader[Any] = DataLoader(
            self._batches,  # type: ignore[arg-type]  # torch asks it for all samples of a batch at once
            batch_sampler=self._sampler,  # type: ignore[arg-type]  # which has no length
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # and what it gives is a batch already
            num_workers=count,
            prefetch_factor=_AHEAD if count else None,
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
        self._batches.current.fill_(self._iteration)
        self._sampler.batches = _ask(self._iteration, batches, self._slots)
        self._running = iter(self._loader)

    def __next__(self) -> Batch:
        loaded: Batch | FilledSlot = next(self._running)
        if isinstance(loaded, FilledSlot):
            assert self._slots is not None
            return self._slots.open(loaded)
        return loaded

    def cancel(self) -> None:
        """Let workers leave out what they were asked for and have not begun, and hold no memory for batches."""
        self._sampler.batches.close()  # it may hold the loader, which holds this
        self._batches.current.fill_(_NONE)
        if self._slots is not None:
            self._slots.free_memory()

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
