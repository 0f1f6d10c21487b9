"""The official toolbox's call of `get_dataloader`: one configuration for everything, and options of torch's loader."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, TypedDict, runtime_checkable

from csc_data.errors import InvalidArgumentError
from csc_data.loader.settings import LoaderSettings

_log = logging.getLogger(__name__)


@runtime_checkable
class HasGet(Protocol):
    """A configuration as the official toolbox reads it from a file."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a name."""


Configuration = Mapping[str, Any] | ModuleType | HasGet
"""The names of an experiment; those that are not about loading are left aside."""


class TorchOptions(TypedDict, total=False):
    """What the official call hands on to torch's loader, and ours does by itself or in another way."""

    batch_sampler: Any
    collate_fn: Any
    drop_last: Any
    generator: Any
    in_order: Any
    is_train: Any
    multiprocessing_context: Any
    persistent_workers: Any
    pin_memory: Any
    pin_memory_device: Any
    prefetch_factor: Any
    rng: Any
    sampler: Any
    shuffle: Any
    timeout: Any
    worker_init_fn: Any


_INSTEAD = {
    "batch_sampler": "batch_size, weighted_sampler and foreground_share say which samples a batch has",
    "collate_fn": "batches are written as a whole; change them in your loop",
    "drop_last": "training batches are always full, and validation needs all tiles",
    "generator": "random_seed decides all samples",
    "in_order": "batches come in the same order whatever the workers",
    "is_train": "training is always drawn at random, validation in order; use random_validation for another one",
    "multiprocessing_context": "use start_method",
    "persistent_workers": "workers always live from epoch to epoch",
    "pin_memory": "batches are pinned wherever there is a GPU",
    "pin_memory_device": "batches are pinned wherever there is a GPU",
    "prefetch_factor": "each worker loads two batches ahead; use num_workers for more",
    "rng": "random_seed decides all samples",
    "sampler": "use weighted_sampler or foreground_share",
    "shuffle": "training is always drawn at random; use random_validation for validation",
    "timeout": "a worker that has ended is told at once",
    "worker_init_fn": "samples do not depend on who loads them; random_seed decides them",
}


def what_instead(name: str) -> str:
    """Return what does the job of an option of torch's loader here.

    Examples
    --------
    >>> what_instead("persistent_workers")
    'workers always live from epoch to epoch'
    """
    return _INSTEAD[name]


_ARGUMENTS = ("datasplit_path", *(field.name for field in dataclasses.fields(LoaderSettings)))


def split_first(first: Any) -> tuple[Any, dict[str, Any]]:
    """Return the datasplit, or None, and the arguments that the first argument of `get_dataloader` holds.

    Parameters
    ----------
    first : path-like, sequence of SplitRow, configuration or None

    Raises
    ------
    InvalidArgumentError
        If it is none of these.

    Examples
    --------
    >>> split_first("datasplit.csv")
    ('datasplit.csv', {})
    >>> split_first({"datasplit_path": "datasplit.csv", "classes": ["nuc"], "epochs": 10})
    ('datasplit.csv', {'classes': ['nuc']})
    """
    if first is None or isinstance(first, str | os.PathLike | Sequence):
        return first, {}
    if isinstance(first, ModuleType):
        read = vars(first).get
    elif isinstance(first, HasGet):
        read = first.get
    else:
        raise InvalidArgumentError(
            f"expected the path of a datasplit, its rows, or a configuration (a mapping or a module), got {first!r}"
        )
    absent = object()
    found = {name: value for name in _ARGUMENTS if (value := read(name, absent)) is not absent}
    for_each = read("train_micro_batch_size_per_gpu", absent)
    if for_each is not absent:
        found["batch_size"] = for_each
    for further in ("dataloader_kwargs", "kwargs"):
        found |= read(further, None) or {}
    return found.pop("datasplit_path", None), found


def adapt(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as our settings have them; what they have no use for is warned of.

    Parameters
    ----------
    given : mapping
        Arguments of the official call.

    Examples
    --------
    >>> adapt({"classes": ["nuc"], "batch_size": 2, "random_validation": None})
    {'classes': ['nuc'], 'batch_size': 2, 'random_validation': False}
    """
    settings = {name: value for name, value in given.items() if name not in _INSTEAD}
    for name in given:
        if name in _INSTEAD:
            _log.warning("get_dataloader leaves out %s: %s", name, _INSTEAD[name])
    for name in ("classes", "input_array_info"):
        if settings.get(name) is None:
            settings.pop(name, None)  # then it is told that they are missing
    if isinstance(settings.get("random_validation"), int | float | None):
        # The official training hands on a limit of time or of batches, or None.
        settings["random_validation"] = bool(settings["random_validation"])
    if settings.get("device") is not None:
        settings["device"] = str(settings["device"])
    return settings
