"""Loaders that somebody gives: their batches, checked, as the trainer takes them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from csc_data.errors import InvalidArgumentError
from csc_data.loader.sources.raw import DEFAULT_RANGE
from csc_train.processes import is_first_process
from csc_train.randomness import RandomStream

logger = logging.getLogger(__name__)

TRAIN_LOADER, VALIDATION_LOADER = "train_loader", "validation_loader"
_END = object()
_OTHER_NAMES = {"input": ("raw", "image"), "output": ("target", "label", "labels", "mask")}
"""What others call the first array of raw, and the first target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchArray:
    """An array that batches must hold.

    Attributes
    ----------
    sizes : tuple of int
        Voxels along its spatial axes.
    channels : int or None
        None where any number will do.
    binary : bool
        Whether it holds nothing but 0, 1 and what is between them, and NaN.

    Examples
    --------
    >>> import torch
    >>> BatchArray(sizes=(4, 4), channels=2).problem(torch.zeros(1, 2, 4, 4))
    ''
    >>> BatchArray(sizes=(4, 4), binary=True).problem(torch.full((1, 2, 4, 4), 255.0))
    'holds values from 255 to 255 where 0, 1, and NaN for unknown are expected'
    """

    sizes: tuple[int, ...]
    channels: int | None = None
    binary: bool = False

    def problem(self, array: Tensor) -> str:
        """Return what is wrong with an array (B, C, [z,] y, x); nothing is an empty text."""
        found = tuple(array.shape)
        if len(found) != 2 + len(self.sizes) or found[2:] != self.sizes or self.channels not in (None, found[1]):
            wanted = ["batch", "channels" if self.channels is None else str(self.channels), *map(str, self.sizes)]
            return f"has the shape {found} where ({', '.join(wanted)}) is expected"
        if array.is_complex():
            return "holds complex numbers"
        # Masks of 255, labels of instances and -1 for unknown would train to nonsense, and nobody would see it.
        if self.binary and (beyond := array[(array < 0) | (array > 1)]).numel():
            lowest, highest = map(float, beyond.aminmax())
            return f"holds values from {lowest:g} to {highest:g} where 0, 1, and NaN for unknown are expected"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchForm:
    """What batches must hold.

    Attributes
    ----------
    setting : str
        What the loader was given as.
    inputs, targets : mapping
        The arrays by name, in their order.
    raw_range : pair of float
        What prediction scales raw to.

    Examples
    --------
    >>> import torch
    >>> array = BatchArray(sizes=(4, 4))
    >>> form = BatchForm(setting="train_loader", inputs={"input": array}, targets={"output": array})
    >>> batch = form.read({"input": torch.zeros(1, 1, 4, 4), "output": torch.zeros(1, 2, 4, 4), "names": ["a"]})
    >>> list(batch), form.remark(batch)
    (['input', 'output'], '')
    """

    setting: str
    inputs: Mapping[str, BatchArray]
    targets: Mapping[str, BatchArray]
    raw_range: tuple[float, float] = DEFAULT_RANGE

    def read(self, given: Any) -> dict[str, Tensor]:
        """Return the arrays of a batch by name; what else is in it is left out.

        Parameters
        ----------
        given : mapping, or pair
            Arrays by name; or inputs and targets, each an array or a mapping.

        Raises
        ------
        InvalidArgumentError
            If arrays are missing, or have other shapes.
        """
        arrays = self._by_name(given)
        problems, found = [], {}
        for name, wanted in {**self.inputs, **self.targets}.items():
            key = next((each for each in (name, *_OTHER_NAMES.get(name, ())) if each in arrays), None)
            if key is None:
                problems.append(f"there is no {name!r} among {', '.join(map(str, arrays))}")
                continue
            try:
                found[name] = torch.as_tensor(arrays[key]).as_subclass(Tensor)
            except (TypeError, ValueError, RuntimeError):
                problems.append(f"{key!r} is a {type(arrays[key]).__name__} and not an array")
                continue
            problem = wanted.problem(found[name])
            problems += [f"{key!r} {problem}"] if problem else []
        if problems:
            remedy = "input_array_info, target_array_info, targets and classes say what is expected"
            raise InvalidArgumentError(f"a batch of {self.setting}: {'; '.join(problems)} ({remedy})")
        # Masks are often integers, which know no NaN and which losses do not take; NumPy's own floats are of 64 bits.
        kept = (torch.float32, torch.float16, torch.bfloat16)
        return {name: array if array.dtype in kept else array.float() for name, array in found.items()}

    def remark(self, batch: Mapping[str, Tensor]) -> str:
        """Return what is odd about the raw of a batch; nothing is an empty text."""
        name = next(iter(self.inputs))
        if not batch[name].numel():
            return ""
        lowest, highest = map(float, batch[name].aminmax())
        low, high = self.raw_range
        slack = (high - low) / 2  # of noise and contrast
        if low - slack <= lowest <= highest <= high + slack:
            return ""
        return (
            f"{name!r} of {self.setting} goes from {lowest:g} to {highest:g}, but prediction scales raw to {low:g} to "
            f"{high:g}: scale it so as well, or set raw_range"
        )

    def _by_name(self, given: Any) -> Mapping[str, Any]:
        if isinstance(given, Mapping):
            return given
        if not isinstance(given, Sequence) or len(given) != 2:
            raise InvalidArgumentError(
                f"a batch of {self.setting} is a {type(given).__name__}; give mappings of arrays, or pairs "
                "(input, target)"
            )
        named: dict[str, Any] = {}
        for part, names in zip(given, (self.inputs, self.targets), strict=True):
            if isinstance(part, Mapping):
                named.update(part)
            elif len(names) > 1:
                raise InvalidArgumentError(
                    f"a batch of {self.setting} is a pair, but there are {', '.join(names)}; give a mapping of these"
                )
            else:
                named[next(iter(names))] = part
        return named


class GivenLoader:
    """Batches of a loader that was given, an epoch at a time.

    Each epoch begins anew with random generators of its own, so that a run that goes on within an epoch meets the
    batches of an unbroken one. Where the loader cannot begin within an epoch, batches are read and left out.

    Parameters
    ----------
    given : iterable
        Gives batches each time it is iterated over; one that can be iterated over only once goes on where it is.
    form : BatchForm
        What they must hold.
    most : int or None
        Batches of an epoch at most. For training without ``len`` exactly as many: fewer are begun again.
    seed : int
        Decides what the loader draws from the global generators.
    share : pair of int
        This process and the number of processes; each takes every n-th batch.

    Attributes
    ----------
    epoch : int
        The epoch that comes next, from 0.
    patches
        None: where samples come from is not known.

    Raises
    ------
    InvalidArgumentError
        If it cannot be iterated over, or nobody knows for how long.
    """

    patches = None

    def __init__(
        self, given: Any, form: BatchForm, *, most: int | None, seed: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        if not hasattr(given, "__iter__"):
            hint = "; give its .loader" if hasattr(given, "loader") else ""
            raise InvalidArgumentError(f"{form.setting} is a {type(given).__name__}, which gives no batches{hint}")
        self._trains = form.setting == TRAIN_LOADER
        if isinstance(given, Iterator) and not self._trains:
            raise InvalidArgumentError(f"{form.setting} can be iterated over only once; give a list, or a loader")
        rank, world_size = share
        length = _length(given)
        if length is not None:  # processes that train take the same number of steps
            length = length // world_size if self._trains else len(range(rank, length, world_size))
        if length == 0:
            raise InvalidArgumentError(f"{form.setting} has no batches, or fewer than there are processes")
        if length is None and most is None:
            raise InvalidArgumentError(f"{form.setting} has no len(); say by validation_batch_limit how many to take")
        self.epoch = 0
        self._given, self._form, self._seed, self._share = given, form, seed, share
        self._begins_again = self._trains and length is None
        self._count = min(n for n in (length, most) if n is not None)
        self._first_batch = 0
        self._remarked = False
        if self._trains and length is not None and length > self._count and is_first_process():
            limit = f"iterations_per_epoch = {self._count}"
            logger.warning("%s has %d batches, of which an epoch takes the first: %s", form.setting, length, limit)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._count

    def shorten(self, count: int) -> None:
        """Give fewer batches, as many as the loader of another process has."""
        self._count = count

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration gives, and how many of its batches are left out."""
        self.epoch, self._first_batch = epoch, first_batch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        first, self._first_batch = self._first_batch, 0
        left_out = self._begin(epoch, first)
        batches = self._batches(RandomStream(self._seed, epoch if self._trains else 0))
        done = first
        for given in islice(batches, left_out, left_out + self._count - first):
            batch = self._form.read(given)
            self._tell("" if self._remarked else self._form.remark(batch))
            self._remarked = True
            done += 1
            yield batch
        if done < self._count:
            self._tell(f"{self._form.setting} ended after {done} of {self._count} batches")

    def _tell(self, line: str) -> None:
        if line and is_first_process():
            logger.warning("%s", line)

    def _begin(self, epoch: int, first: int) -> int:
        """Tell the loader where to begin; return how many batches are still to be left out."""
        parts = (self._given, *(getattr(self._given, name, None) for name in ("sampler", "batch_sampler", "dataset")))
        for part in {id(part): part for part in parts if hasattr(part, "set_epoch")}.values():
            if "first_batch" in inspect.signature(part.set_epoch).parameters:
                part.set_epoch(epoch, first_batch=first)
                return 0
            part.set_epoch(epoch)
        if not first:
            return 0
        once = isinstance(self._given, Iterator)
        words = "can be iterated over only once: what it gives next counts"
        if not once:
            words = f"begins at the start of an epoch: its first {first} batches are read and left out"
        if is_first_process():
            logger.warning("%s %s", self._form.setting, words)
        return 0 if once else first

    def _batches(self, stream: RandomStream) -> Iterator[Any]:
        rank, world_size = self._share
        while True:
            with stream:
                batches = islice(iter(self._given), rank, None, world_size)
            found = False
            while True:
                with stream:
                    batch = next(batches, _END)
                if batch is _END:
                    break
                found = True
                yield batch
            if not self._begins_again:
                return
            if not found:
                what = "is at its end, and can be iterated over only once" if isinstance(self._given, Iterator) else ""
                raise InvalidArgumentError(f"{self._form.setting} {what or 'has no batches'}")


def spread(given: Any, rank: int, world_size: int, seed: int) -> tuple[Any, tuple[int, int]]:
    """Return a loader for this process, and which share of its batches is meant for it.

    A torch loader that goes through its data set in order or at random gets a sampler for this process, so that no
    process loads for others; one with a distributed sampler of its own stays as it is.

    Examples
    --------
    >>> spread([1, 2, 3], rank=1, world_size=2, seed=0)
    ([1, 2, 3], (1, 2))
    """
    sampler = getattr(given, "sampler", None)
    if world_size == 1 or isinstance(sampler, DistributedSampler):
        return given, (0, 1)
    known = isinstance(given, DataLoader) and type(sampler) in (SequentialSampler, RandomSampler)
    if not known or given.batch_size is None:
        return given, (rank, world_size)
    own: DistributedSampler[Any] = DistributedSampler(
        given.dataset,
        num_replicas=world_size,
        rank=rank,
        shuffle=isinstance(sampler, RandomSampler),
        seed=seed,
        drop_last=given.drop_last,
    )
    names = (
        *("batch_size", "drop_last", "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn"),
        *("multiprocessing_context", "prefetch_factor", "persistent_workers"),
    )
    return DataLoader(given.dataset, sampler=own, **{name: getattr(given, name) for name in names}), (0, 1)


def _length(given: Any) -> int | None:
    """Return how many batches there are; None where that is not known."""
    try:
        return len(given)
    except TypeError:  # of an iterable data set
        return None
