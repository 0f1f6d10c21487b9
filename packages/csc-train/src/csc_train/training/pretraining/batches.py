"""Batches of masked raw, from all of it that a data folder holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import torch

from csc_data.config.templates import match
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.loader import PatchLoader, PatchShape, RegionCache
from csc_data.loader.patches.reader import INPUT, PatchReader
from csc_data.loader.patches.training import Augmentation
from csc_data.loader.patches.unannotated import KNOWN, RawPatches, raw_regions
from csc_data.loader.targets import BinaryTarget
from csc_data.loader.workers.pool import BatchForm, Workers
from csc_data.splits.annotations import AnnotatedCrop
from csc_data.splits.search import CropTemplates, natural_key
from csc_data.storage.trees import LocalTree
from csc_data.volumes import open_volume
from csc_data.wording import plural
from csc_train.network import target_array_info
from csc_train.settings import TrainSettings
from csc_train.settings.pretraining import PretrainSettings
from csc_train.training.loaders import Batch, Loaders
from csc_train.training.pretraining.masking import Masking

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

OUTPUT = "output"
_AROUND = "raw_of_output"  # where a network gives other voxels than it takes


class MaskedBatches:
    """Batches of raw with masked blocks, and of what was there; the same whatever the number of workers.

    What is masked depends on the seed, the process, the epoch and the number of the batch alone.

    Parameters
    ----------
    loader : PatchLoader
        Of `RawPatches`.
    masking : Masking
    seed, rank : int
    device : torch.device
        Where batches are put.

    Attributes
    ----------
    epoch : int
        The epoch that comes next, from 0.
    """

    def __init__(
        self, loader: PatchLoader, masking: Masking, *, seed: int, rank: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self._loader, self._masking, self._device = loader, masking, torch.device(device)
        self._seeds = (seed, rank)
        self.epoch = 0
        self._first_batch = 0

    @property
    def patches(self) -> RawPatches:
        """Where samples come from."""
        assert isinstance(self._loader.patches, RawPatches)
        return self._loader.patches

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._loader)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration gives, and how many of its batches are left out."""
        self.epoch, self._first_batch = epoch, first_batch

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        first, self._first_batch = self._first_batch, 0
        self._loader.set_epoch(epoch, first)
        for number, batch in enumerate(self._loader, start=first):
            seeds = np.random.SeedSequence([*self._seeds, epoch, number]).generate_state(1, np.uint64)
            yield self._masked(batch, torch.Generator().manual_seed(int(seeds[0] >> np.uint64(1))))

    def _masked(self, batch: Batch, generator: torch.Generator) -> Batch:
        raw, known = (batch[name].to(self._device) for name in (INPUT, KNOWN))
        around = batch[_AROUND].to(self._device) if _AROUND in batch else raw
        pairs = [
            self._masking.apply(each[0], wanted[0], there[0] > 0, generator)
            for each, wanted, there in zip(raw, around, known, strict=True)
        ]
        seen, wanted = (torch.stack(part).unsqueeze(1) for part in zip(*pairs, strict=True))
        rest = {name: array for name, array in batch.items() if name not in (INPUT, KNOWN, _AROUND)}
        return {INPUT: seen, OUTPUT: wanted, **rest}


def open_masked_loaders(settings: TrainSettings, config: Config | None, fabric: Fabric) -> Loaders:
    """Return the batches of a pretraining run, for this process.

    Raises
    ------
    InvalidArgumentError
        If the experiment has a network of its own, whose output cannot be chosen, or several inputs.
    MissingDataError, UnreadableDataError
        If there is no raw, or it cannot be read.
    csc_models.ModelError
        If the network does not take patches of this shape.
    """
    assert isinstance(settings, PretrainSettings)
    if settings.model is not None or settings.further_inputs:
        what = "further_inputs" if settings.further_inputs else "model"
        raise InvalidArgumentError(
            f"{what} does not go with pretraining, which takes one array of raw and a network of `csc models`; the "
            "table pretraining of the experiment may leave it out"
        )
    array, target = settings.input_array_info, target_array_info(settings)
    around = {} if target == array else {_AROUND: target}
    reader = PatchReader(
        crops=tuple(find_regions(settings, config, speaks=fabric.is_global_zero)),
        classes=(),
        patch=PatchShape(input=array, target=target, further_inputs=around),
        raw_range=settings.raw_range,
        regions=RegionCache(settings.cache_bytes),
        interpolation=settings.interpolation,
        spatial=settings.spatial_transforms,
        kinds={},
    )
    loader = PatchLoader(
        RawPatches(
            reader,
            Augmentation(spatial=settings.spatial_transforms),
            seed=settings.random_seed,
            foreground_share=0.0,
        ),
        batch_size=settings.batch_size,
        batches=settings.iterations_per_epoch,
        workers=Workers(
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            num_workers=settings.num_workers,
            start_method=settings.start_method,
        ),
        form=BatchForm(with_positions=True),
    )
    batches = MaskedBatches(
        loader,
        Masking(size_nm=settings.mask_size, share=settings.mask_share, array=array, target=target),
        seed=settings.random_seed,
        rank=fabric.global_rank,
        device=fabric.device,
    )
    return Loaders(
        train=batches, validation=None, inputs={INPUT: array}, targets={OUTPUT: target}, kinds={OUTPUT: BinaryTarget()}
    )


def find_regions(settings: PretrainSettings, config: Config | None, *, speaks: bool = True) -> list[AnnotatedCrop]:
    """Return the raw to learn from, in boxes.

    Raises
    ------
    MissingDataError
        If there is none.
    """
    found = find_volumes(settings.raw_volumes, config or load_config())
    regions = []
    for name, path in found.items():
        own = raw_regions(open_volume(path), settings.input_array_info.scale, name=name)
        regions += own
        if speaks:
            voxels = sum(np.prod(crop.bounds.extent) for crop in own) / np.prod(settings.input_array_info.scale)
            logger.info("%s: %s voxels of raw, in %s", name, f"{voxels:,.0f}", plural(len(own), "region"))
    return regions


def find_volumes(names: tuple[str, ...], config: Config) -> dict[str, str]:
    """Return paths of raw by names of data sets; of what is given as a path, by that.

    Raises
    ------
    MissingDataError
        If the data folder has none of the data sets.
    """
    paths = {name: name for name in names if "/" in name or os.sep in name}
    patterns = [name for name in names if name not in paths]
    template = CropTemplates.below(config).raw
    folder = template.partition("{")[0].rpartition("/")[0]
    below = template.removeprefix(f"{folder}/").partition("/")[0]
    tree = LocalTree()
    there = {}
    for name in tree.children([folder])[0] if patterns else ():
        values = match(below, name)
        if values and any(fnmatchcase(values["dataset"], pattern) for pattern in patterns):
            path = template.format_map(values)
            parent, _, last = path.rpartition("/")
            if last in tree.children([parent])[0]:
                there[values["dataset"]] = path
    if patterns and not there:
        raise MissingDataError(
            f"there is no raw of {', '.join(patterns)} below {folder}; csc fetch-data fetches it, and raw_volumes may "
            "also name paths"
        )
    return {**{name: there[name] for name in sorted(there, key=natural_key)}, **paths}
