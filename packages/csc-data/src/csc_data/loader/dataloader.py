"""Batches for a training loop."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from csc_data.challenge import label_classes
from csc_data.datasplit import SplitRow, Usage, read_datasplit
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.loader.annotations import AnnotatedCrop, open_crop
from csc_data.loader.array_info import ArrayInfo
from csc_data.loader.cache import DEFAULT_BYTES, VolumeCache
from csc_data.loader.patch_reader import PatchReader
from csc_data.loader.placement import PatchShape
from csc_data.loader.raw import DEFAULT_RANGE
from csc_data.loader.regions import RegionCache
from csc_data.loader.spatial import SpatialTransforms
from csc_data.loader.training_patches import TrainingPatches
from csc_data.loader.validation_patches import ValidationPatches

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]


class PatchLoader:
    """Batches of samples, the same ones whatever the number of workers.

    Each time it is iterated over it gives the batches of its epoch, and moves on to the next; `set_epoch` goes to a
    certain one. Of several processes that train together each gets samples of its own.

    Attributes
    ----------
    patches : TrainingPatches or ValidationPatches
        Where samples come from.
    batch_size : int
    epoch : int
        The epoch that comes next, from 0.
    """

    def __init__(
        self,
        patches: TrainingPatches | ValidationPatches,
        *,
        batch_size: int,
        batches: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        import torch
        from torch.utils.data import DataLoader

        self.patches = patches
        self.batch_size = batch_size
        self.epoch = 0
        self._batches = batches
        self._rank, self._world_size = rank, world_size
        self._loader: DataLoader[Any] = DataLoader(
            _WholeBatches(patches),  # type: ignore[arg-type]  # torch asks it for all samples of a batch together
            batch_sampler=_Indices(self),
            collate_fn=_as_it_is,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
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
        yield from self._loader
        self.epoch += 1

    def indices(self) -> Iterator[list[int]]:
        """Yield the numbers of the samples of each batch of this epoch."""
        if isinstance(self.patches, ValidationPatches):
            numbers = range(self._rank, len(self.patches), self._world_size)
            for start in range(self._batches):
                yield list(numbers[start * self.batch_size : (start + 1) * self.batch_size])
            return
        share = self._batches * self.batch_size
        first = (self.epoch * self._world_size + self._rank) * share
        for start in range(first, first + share, self.batch_size):
            yield list(range(start, start + self.batch_size))


class _WholeBatches:
    """Samples, a batch at a time: written where the batch needs them, in memory that processes share."""

    def __init__(self, patches: TrainingPatches | ValidationPatches) -> None:
        self.patches = patches

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        import torch
        from torch.utils.data import get_worker_info

        batch: Batch = {}
        for name, shape in self.patches.shapes().items():
            whole = (len(indices), *shape)
            if get_worker_info() is None:
                batch[name] = torch.empty(whole)
            else:  # memory that needs no copy on its way to the process that trains
                count = math.prod(whole)
                storage = torch.UntypedStorage._new_shared(4 * count)
                batch[name] = torch.empty(0).set_(storage, 0, whole)  # type: ignore[call-overload]
        self.patches.read_batch(indices, {name: tensor.numpy() for name, tensor in batch.items()})
        return self.patches.squeezed(batch)


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


class Dataloaders(NamedTuple):
    """The loaders of a datasplit; ``validation`` is None where it has no validation crops."""

    train: PatchLoader
    validation: PatchLoader | None


def get_dataloader(
    datasplit_path: str | os.PathLike[str] | Sequence[SplitRow],
    classes: Sequence[str],
    *,
    batch_size: int,
    input_array_info: ArrayInfo | Mapping[str, Any],
    target_array_info: ArrayInfo | Mapping[str, Any] | None = None,
    spatial_transforms: SpatialTransforms | Mapping[str, Any] | None = None,
    iterations_per_epoch: int = 1000,
    weighted_sampler: bool = True,
    use_mutual_exclusion: bool = False,
    raw_range: tuple[float, float] = DEFAULT_RANGE,
    validation_batch_limit: int | None = None,
    shuffle_validation: bool = False,
    random_seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    cache_bytes: int = DEFAULT_BYTES,
) -> Dataloaders:
    """Make the loaders of a datasplit.

    Batches are ``{"input": (B, 1, z, y, x), "output": (B, C, z, y, x)}``, float32; flat patches of shape (1, y, x)
    come as (B, 1, y, x) and (B, C, y, x). Targets are 1 where a class is present, 0 where it is absent, NaN where
    nobody knows: outside the annotated box, in classes that were not annotated in the crop, and where the annotation
    says so. A group class without an array of its own is known where all of its parts are annotated: it is their union.

    Parameters
    ----------
    datasplit_path : path-like or sequence of SplitRow
    classes : sequence of str
        The channels of the targets, in this order.
    batch_size : int
        Samples of a batch, in each process.
    input_array_info, target_array_info : ArrayInfo or mapping
        ``{"shape": (z, y, x), "scale": (z, y, x)}`` in voxels and nm; both patches have the same centre. The target is
        like the input by default.
    spatial_transforms : SpatialTransforms or mapping, optional
        Mirror and transpose for training, see `SpatialTransforms.parse`; validation is never transformed.
    iterations_per_epoch : int
        Training batches of an epoch, in each process.
    weighted_sampler : bool
        Draw each class equally often; otherwise each position.
    use_mutual_exclusion : bool
        An annotated voxel of a class is a known 0 of every class that excludes it.
    raw_range : pair of float
        What the ends of the raw type's range become, see `scale_raw`.
    validation_batch_limit : int, optional
        Validate on this many batches only; always the same ones, spread over all crops.
    shuffle_validation : bool
        Bring validation tiles into a random order (fixed by the seed), as for a limit.
    random_seed : int
        Decides all samples, whatever the number of workers.
    rank, world_size : int
        This process and the number of processes; each gets other samples.
    num_workers : int
        Processes that load; 0 loads in this one.
    cache_bytes : int
        Most bytes of decoded crops to hold, in each process that loads.

    Raises
    ------
    MissingDataError
        If a file is missing, or no training crop has any of the classes.
    UnreadableDataError
        If a volume cannot be read.
    ProblemsError
        If the datasplit, an array info or the transforms have mistakes.
    InvalidArgumentError
        If a number is out of range, or a class is named twice.
    """
    _check(classes, batch_size=batch_size, iterations_per_epoch=iterations_per_epoch, world_size=world_size)
    rows = datasplit_path if isinstance(datasplit_path, Sequence) and not isinstance(datasplit_path, str) else None
    rows = read_datasplit(datasplit_path) if rows is None else rows  # type: ignore[arg-type]
    given = ArrayInfo.parse(input_array_info, "input_array_info")
    target = given if target_array_info is None else ArrayInfo.parse(target_array_info, "target_array_info")
    cache, regions = VolumeCache(cache_bytes), RegionCache(cache_bytes)

    def reader(usage: Usage, crops: Sequence[AnnotatedCrop]) -> PatchReader:
        if not crops:
            names = ", ".join(classes)
            raise MissingDataError(f"no crop of usage {usage} in the datasplit has any of the classes {names}")
        return PatchReader.create(
            crops,
            classes,
            PatchShape(input=given, target=target),
            raw_range=raw_range,
            use_mutual_exclusion=use_mutual_exclusion,
            cache=cache,
            regions=regions,
        )

    parallel: dict[str, Any] = {"rank": rank, "world_size": world_size, "num_workers": num_workers}
    transforms = SpatialTransforms.parse(spatial_transforms)
    train = TrainingPatches(
        reader("train", _open(rows, "train", classes, use_mutual_exclusion)),
        transforms,
        seed=random_seed,
        foreground_share=None if weighted_sampler else 0.0,
    )
    loader = PatchLoader(train, batch_size=batch_size, batches=iterations_per_epoch, **parallel)
    crops = _open(rows, "validate", classes, use_mutual_exclusion)
    if not crops:
        return Dataloaders(loader, None)
    shuffle = shuffle_validation or validation_batch_limit is not None
    tiles = ValidationPatches(reader("validate", crops), shuffle_seed=random_seed if shuffle else None)
    batches = -(-len(range(rank, len(tiles), world_size)) // batch_size)
    if validation_batch_limit is not None:
        batches = min(batches, validation_batch_limit)
    return Dataloaders(loader, PatchLoader(tiles, batch_size=batch_size, batches=batches, **parallel))


def _check(classes: Sequence[str], **counts: int) -> None:
    if isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
        raise InvalidArgumentError(f"classes must be a list of different names, got {classes!r}")
    for name, count in counts.items():
        if count < 1:
            raise InvalidArgumentError(f"{name} must be at least 1, got {count}")


def _open(rows: Sequence[SplitRow], usage: Usage, classes: Sequence[str], with_others: bool) -> list[AnnotatedCrop]:
    """Open the crops of a usage; with the other classes annotated there, where they tell what is absent."""
    challenge = label_classes()
    crops = []
    for row in rows:
        if row.usage == usage:
            others = [name for name in row.classes if with_others and name in challenge]
            crops.append(open_crop(row, list(dict.fromkeys([*classes, *others]))))
    return [crop for crop in crops if crop is not None]
