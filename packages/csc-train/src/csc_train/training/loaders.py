"""The batches of an experiment: of its datasplit, or of loaders that are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from csc_data.config.experiment import adjust_settings
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader import ArrayInfo, Dataloaders, PatchLoader, TrainingPatches, ValidationPatches
from csc_data.loader.dataloader import open_loaders
from csc_data.loader.targets import BinaryTarget, TargetKind
from csc_data.loader.workers.pool import Workers
from csc_train.datasplit import experiment_rows
from csc_train.network import patch_shape
from csc_train.settings import TrainSettings
from csc_train.training.given_loaders import (
    TRAIN_LOADER,
    VALIDATION_LOADER,
    BatchArray,
    BatchForm,
    GivenLoader,
    spread,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = dict[str, Tensor]


class Batches(Protocol):
    """What the trainer needs of a loader.

    Attributes
    ----------
    epoch : int
        The epoch that comes next, from 0.
    """

    epoch: int

    @property
    def patches(self) -> TrainingPatches | ValidationPatches | None:
        """Where samples come from; None where that is not known."""

    def __len__(self) -> int:
        """Batches of an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches of an epoch, or what is left of it."""

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration gives, and how many of its batches are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """What a run trains on, and what it is validated by.

    Attributes
    ----------
    train, validation : Batches
        ``validation`` is None where there is none.
    inputs, targets : mapping
        The arrays of batches by name; a network takes inputs in this order.
    kinds : mapping
        What each target says.
    """

    train: Batches
    validation: Batches | None
    inputs: Mapping[str, ArrayInfo]
    targets: Mapping[str, ArrayInfo]
    kinds: Mapping[str, TargetKind]


def open_run_loaders(
    settings: TrainSettings, config: Config | None, fabric: Fabric, *, keeps_split: bool = True
) -> Loaders:
    """Return the loaders of a run, for this process: those that are given, else those of its datasplit.

    A datasplit that is made is written if ``keeps_split``.

    Raises
    ------
    InvalidArgumentError
        If a loader that is given does not fit the settings.
    ProblemsError, MissingDataError, UnreadableDataError, csc_models.ModelError
        As `make_loaders` does.
    """
    patch = patch_shape(settings)
    inputs = {"input": patch.input, **patch.further_inputs}
    kinds = settings.kinds
    targets = {name: patch.further_targets.get(name, patch.target) for name in kinds}
    train: Batches | None = None
    validation: Batches | None = None
    if settings.train_loader is None:
        train, validation = make_loaders(
            settings, config, rank=fabric.global_rank, world_size=fabric.world_size, keeps_split=keeps_split
        )
    given = {TRAIN_LOADER: settings.train_loader, VALIDATION_LOADER: settings.validation_loader}
    forms = {
        name: BatchForm(
            setting=name,
            inputs={each: BatchArray(sizes=_sizes(array)) for each, array in inputs.items()},
            targets={
                each: BatchArray(
                    sizes=_sizes(array),
                    channels=len(kinds[each].channel_names(settings.classes)),
                    binary=isinstance(kinds[each], BinaryTarget),
                )
                for each, array in targets.items()
            },
            raw_range=settings.raw_range,
        )
        for name in given
    }
    if settings.train_loader is not None:
        train = _given(settings.train_loader, forms[TRAIN_LOADER], settings, fabric)
    if settings.validation_loader is not None:
        validation = _given(settings.validation_loader, forms[VALIDATION_LOADER], settings, fabric)
        if isinstance(validation, GivenLoader):
            next(iter(validation))  # what is wrong with it shows now, and not after an epoch
    assert train is not None
    for loader in (train, validation):
        if isinstance(loader, PatchLoader):
            loader.device = str(fabric.device)
    return Loaders(train=train, validation=validation, inputs=inputs, targets=targets, kinds=kinds)


def _given(loader: Any, form: BatchForm, settings: TrainSettings, fabric: Fabric) -> Batches:
    """Return a loader that was given as the trainer takes it."""
    trains = form.setting == TRAIN_LOADER
    if isinstance(loader, PatchLoader):
        _check_ours(loader, form, settings)
        return loader
    rank, world_size = fabric.global_rank, fabric.world_size
    # Of validation each process takes its share of the same batches: a sampler would fill shares up by repeating some.
    split = trains or isinstance(getattr(loader, "sampler", None), DistributedSampler)
    own, share = spread(loader, rank, world_size, settings.random_seed) if split else (loader, (rank, world_size))
    most = settings.iterations_per_epoch if trains else settings.validation_batch_limit
    made = GivenLoader(own, form, most=most, seed=settings.random_seed, share=share)
    if trains and world_size > 1:
        count = fabric.all_reduce(torch.tensor(float(len(made)), device=fabric.device), reduce_op="min")
        made.shorten(int(count))  # type: ignore[arg-type]  # of a tensor comes a tensor
    return made


def _check_ours(loader: PatchLoader, form: BatchForm, settings: TrainSettings) -> None:
    reader = loader.patches.reader
    if reader.classes != settings.classes:
        raise InvalidArgumentError(
            f"{form.setting} gives the classes {', '.join(reader.classes)}; the experiment names "
            f"{', '.join(settings.classes)}"
        )
    arrays = {**form.inputs, **form.targets}
    found = {**reader.inputs, **reader.targets}
    if {name: _sizes(array) for name, array in found.items()} != {name: array.sizes for name, array in arrays.items()}:
        there = ", ".join(f"{name} {array.shape}" for name, array in found.items())
        wanted = ", ".join(f"{name} {array.sizes}" for name, array in arrays.items())
        raise InvalidArgumentError(f"{form.setting} gives {there}; the experiment says {wanted}")


def _sizes(array: ArrayInfo) -> tuple[int, ...]:
    return array.shape[1:] if array.flat else array.shape


def make_loaders(
    settings: TrainSettings,
    config: Config | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    keeps_split: bool = True,
) -> Dataloaders:
    """Return the loaders of an experiment, for this process.

    Parameters
    ----------
    settings : TrainSettings
    config : csc_data.config.user_config.Config, optional
        Where data lies, if the experiment names no datasplit; the user's by default.
    rank, world_size : int
        This process and the number of processes; each gets other samples.
    keeps_split : bool
        Whether a datasplit that is made is written.

    Raises
    ------
    ProblemsError
        If prediction could not repeat what is done to raw, or the datasplit has mistakes.
    MissingDataError, UnreadableDataError
        If the datasplit or a volume that it names cannot be read.
    csc_models.ModelError
        If the network does not take patches of this shape.
    """
    problems = settings.unstored_changes()
    if problems:
        raise ProblemsError("experiment", problems)
    rows = experiment_rows(settings, config, speaks=rank == 0, keeps=keeps_split)
    sampling = adjust_settings(
        settings,
        random_validation=settings.validation_time_limit is not None or None,
        with_positions=True,  # so that a loss that is not a number can be told with its place
    )
    workers = Workers(
        rank=rank,
        world_size=world_size,
        num_workers=settings.num_workers,
        start_method=settings.start_method,
        gather_on=settings.gather_on,
    )
    return open_loaders(rows, sampling, patch_shape(settings), settings.kinds, workers)
