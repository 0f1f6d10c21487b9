"""The loaders of a datasplit, from what an experiment says."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack

from csc_data.challenge import ClassTable
from csc_data.errors import MissingDataError
from csc_data.loader.batches import PatchLoader
from csc_data.loader.intensity import IntensityTransform, IntensityTransforms
from csc_data.loader.official_call import Configuration, TorchOptions, adapt, split_first
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation, TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.patches.value_transforms import ValueTransform
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.placement import PatchShape
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.loader.settings import LoaderSettings, SampleSettings
from csc_data.loader.sources.holding.regions import DEFAULT_BYTES, RegionCache
from csc_data.loader.sources.raw import DEFAULT_RANGE
from csc_data.loader.targets import TargetKind
from csc_data.loader.workers.pool import BatchForm, GatherOn, StartMethod, Workers
from csc_data.splits.annotations import AnnotatedCrop, open_crop
from csc_data.splits.split_file import SplitRow, Usage, read_datasplit

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


class Dataloaders(NamedTuple):
    """The loaders of a datasplit; ``validation`` is None where it has no validation crops."""

    train: PatchLoader
    validation: PatchLoader | None


def get_dataloader(
    config: str | os.PathLike[str] | Sequence[SplitRow] | Configuration | None = None,
    classes: Sequence[str] | None = None,
    *,
    datasplit_path: str | os.PathLike[str] | Sequence[SplitRow] | None = None,
    batch_size: int = 1,
    input_array_info: ArrayInfo | Mapping[str, Any] | None = None,
    target_array_info: ArrayInfo | Mapping[str, Any] | None = None,
    targets: TargetKind | Mapping[str, Any] | str | None = None,
    spatial_transforms: SpatialTransforms | Mapping[str, Any] | None = None,
    intensity_transforms: IntensityTransforms | Mapping[str, Any] | Sequence[IntensityTransform] | None = None,
    train_raw_value_transforms: ValueTransform | None = None,
    val_raw_value_transforms: ValueTransform | None = None,
    target_value_transforms: ValueTransform | Mapping[str, ValueTransform] | None = None,
    iterations_per_epoch: int = 1000,
    weighted_sampler: bool = True,
    foreground_share: float | None = None,
    use_mutual_exclusion: bool = False,
    raw_range: tuple[float, float] = DEFAULT_RANGE,
    interpolation: Literal["linear", "cubic"] = "linear",
    validation_batch_limit: int | None = None,
    random_validation: bool | float | None = False,
    random_seed: int = 0,
    device: str | torch.device | None = None,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    start_method: StartMethod | None = None,
    gather_on: GatherOn = "auto",
    with_positions: bool = False,
    packed: bool = False,
    cache_bytes: int = DEFAULT_BYTES,
    **torch_options: Unpack[TorchOptions],
) -> Dataloaders:
    """Make the loaders of a datasplit.

    Batches are ``{"input": (B, 1, z, y, x), "output": (B, C, z, y, x)}``, float32; flat patches of shape (1, y, x)
    come as (B, 1, y, x) and (B, C, y, x). Targets are 1 where a class is present, 0 where it is absent, NaN where
    nobody knows: outside the annotated box, in classes that were not annotated in the crop, and where the annotation
    says so. A group class without an array of its own is known where all of its parts are annotated: it is their union.

    Parameters
    ----------
    config : path-like, sequence of SplitRow, mapping or module, optional
        The datasplit. Or a configuration with the names of these arguments, such as an experiment, which has all of
        them; what it says overrides arguments, as in the official toolbox, and its other names are left aside.
    classes : sequence of str
        The channels of the targets, in this order.
    datasplit_path : path-like or sequence of SplitRow, optional
        The datasplit, by name; ``datasplit.csv`` by default.
    batch_size : int
        Samples of a batch, in each process.
    input_array_info, target_array_info : ArrayInfo or mapping
        ``{"shape": (z, y, x), "scale": (z, y, x)}`` in voxels and nm; both patches have the same centre. The target is
        like the input by default. Or a mapping of names to such: several arrays around one centre, of which the first
        is ``input`` in batches, and ``output``, whatever its name; the others have their own names.
    targets : TargetKind, str or mapping, optional
        What targets say: see `csc_data.loader.targets.parse_targets`. Binary by default.
    spatial_transforms : SpatialTransforms or mapping, optional
        Mirror, transposition, rotation, scale and elastic displacement for training, see `SpatialTransforms.parse`;
        validation is never transformed.
    intensity_transforms : IntensityTransforms or mapping, optional
        Changes of raw for training, see `csc_data.loader.intensity`.
    train_raw_value_transforms, val_raw_value_transforms : callable, optional
        Your own on raw, see `csc_data.loader.patches.value_transforms`. One that changes raw in a way that prediction
        would have to repeat is warned of.
    target_value_transforms : callable or mapping, optional
        Your own on binary targets: one for all classes, or one each.
    iterations_per_epoch : int
        Training batches of an epoch, in each process.
    weighted_sampler : bool
        Draw each class equally often; otherwise each position.
    foreground_share : float, optional
        Share of the samples that hold a voxel of a class, each class as often; overrides ``weighted_sampler``, which
        is C / (C + 1) for C classes, or 0.
    use_mutual_exclusion : bool
        An annotated voxel of a class is a known 0 of every class that excludes it.
    raw_range : pair of float
        What the ends of the raw type's range become, see `scale_raw`.
    interpolation : {"linear", "cubic"}
        How raw is read where training patches are turned, scaled or bent: linearly, which keeps about half of the
        standard deviation of noise, or by cubics, which keep three quarters and take several times as long.
    validation_batch_limit : int, optional
        Validate on this many batches only; always the same ones, spread over all crops.
    random_validation : bool
        Bring validation tiles into a random order (fixed by the seed), as for a limit.
    random_seed : int
        Decides all samples, whatever the number of workers.
    device : str, optional
        Where batches are put; they stay in the memory of the CPU by default.
    rank, world_size : int
        This process and the number of processes; each gets other samples.
    num_workers : int
        Processes that load; 0 loads in this one.
    start_method : {"fork", "forkserver", "spawn"}, optional
        How they are started; Python's default by default. Value transforms must be importable for all but fork.
    gather_on : {"auto", "cpu", "device"}
        Where patches are gathered and raw is changed. On the CPU, by ``num_workers`` processes; or on ``device``, from
        crops that are held there besides, as many as ``cache_bytes``: this process then draws the places of samples,
        and ``num_workers`` have nothing to do. The samples are the same, raw but for rounding. What only the CPU can
        do it does, as if ``cpu`` had been said: value transforms, cubic interpolation, targets that are not binary,
        raw of other types than uint8 and uint16, packed batches; and single samples of crops that cannot be held.
        ``auto`` is ``cpu`` as yet: gathering on a GPU was not measured.
    with_positions : bool
        Batches say where their samples come from, and how they lie there: see `csc_data.loader.places.read_places`.
    packed : bool
        Batches as small as they travel to a device: labels of all classes as one number a voxel, raw as it is stored.
        `csc_data.loader.packed.unpack_batch` makes the usual ones of them. For a ``device`` with memory of its own
        this is done in any case, and undone there.
    cache_bytes : int
        Most bytes of decoded crops to hold, by this process and all its workers together; they share them.
    **torch_options
        Options of torch's loader that the official call hands on: a warning says what does the same here.

    Raises
    ------
    MissingDataError
        If a file is missing, or no training crop has any of the classes.
    UnreadableDataError
        If a volume cannot be read.
    ProblemsError
        If settings or the datasplit have mistakes.
    UnknownClassError
        If a class is neither in the table of classes nor in the datasplit.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, SplitRow, write_multiscale
    >>> from csc_data.loader import get_dataloader
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(16, 16, 16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("raw", "crop1/nuc"):
    ...         write_multiscale(f"{folder}/{name}", [np.ones(grid.shape, np.uint8)], [grid])
    ...     row = SplitRow(usage="train", raw=f"{folder}/raw", labels=f"{folder}/crop1", classes=("nuc",))
    ...     loaders = get_dataloader(
    ...         [row], ["nuc"], batch_size=2, input_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)}, num_workers=0,
    ...         iterations_per_epoch=3,
    ...     )
    ...     batch = next(iter(loaders.train))
    >>> tuple(batch["input"].shape), tuple(batch["output"].shape), len(loaders.train)
    ((2, 1, 8, 8, 8), (2, 1, 8, 8, 8), 3)
    """
    given = dict(locals())
    datasplit, configured = split_first(given.pop("config"))
    by_name, further = given.pop("datasplit_path"), given.pop("torch_options")
    settings = LoaderSettings(**adapt({**given, **further, **configured}))
    workers = Workers(
        rank=settings.rank,
        world_size=settings.world_size,
        num_workers=settings.num_workers,
        start_method=settings.start_method,
        device=settings.device,
        packed=settings.packed,
        gather_on=settings.gather_on,
    )
    datasplit = next((each for each in (datasplit, by_name) if each is not None), "datasplit.csv")
    return open_loaders(datasplit, settings, settings.patch, settings.kinds, workers)


def open_loaders(
    datasplit: str | os.PathLike[str] | Sequence[SplitRow],
    settings: SampleSettings,
    patch: PatchShape,
    kinds: Mapping[str, TargetKind],
    workers: Workers,
) -> Dataloaders:
    """Make the loaders of a datasplit from settings; see `get_dataloader`.

    Parameters
    ----------
    datasplit : path-like or sequence of SplitRow
    settings : SampleSettings
    patch : PatchShape
    kinds : mapping
        From the names of targets to their kinds.
    workers : Workers
    """
    if isinstance(datasplit, str | os.PathLike):
        rows: Sequence[SplitRow] = read_datasplit(datasplit)
    else:
        rows = datasplit
    classes = settings.classes
    annotated = {name for row in rows for name in row.classes}
    settings.class_table.check(classes, annotated)
    for problem in settings.unstored_changes():
        _log.warning("%s", problem)
    regions = RegionCache(settings.cache_bytes)

    def reader(usage: Usage, crops: Sequence[AnnotatedCrop], spatial: SpatialTransforms | None = None) -> PatchReader:
        if not crops:
            names = ", ".join(classes)
            raise MissingDataError(f"no crop of usage {usage} in the datasplit has any of the classes {names}")
        return PatchReader(
            crops=tuple(crops),
            classes=classes,
            patch=patch,
            raw_range=settings.raw_range,
            use_mutual_exclusion=settings.use_mutual_exclusion,
            regions=regions,
            spatial=spatial or SpatialTransforms(),
            kinds=kinds,
            interpolation=settings.interpolation,
            overhang=usage == "validate",
            table=settings.class_table,
        )

    evenly = settings.foreground_share is None and not settings.weighted_sampler
    train = TrainingPatches(
        reader("train", _open(rows, "train", settings), settings.spatial_transforms),
        Augmentation(
            spatial=settings.spatial_transforms,
            intensity=settings.intensity_transforms,
            values=settings.value_transforms(settings.train_raw_value_transforms),
        ),
        seed=settings.random_seed,
        foreground_share=0.0 if evenly else settings.foreground_share,
    )
    size = settings.batch_size
    form = BatchForm(with_positions=settings.with_positions, packed=workers.packed)
    make = partial(PatchLoader, batch_size=size, workers=workers, form=form)
    loader = make(train, batches=settings.iterations_per_epoch)
    crops = _open(rows, "validate", settings)
    if not crops:
        return Dataloaders(loader, None)
    limit = settings.validation_batch_limit
    shuffle = settings.random_validation or limit is not None
    tiles = ValidationPatches(
        reader("validate", crops),
        shuffle_seed=settings.random_seed if shuffle else None,
        values=settings.value_transforms(settings.val_raw_value_transforms),
    )
    batches = -(-len(range(workers.rank, len(tiles), workers.world_size)) // size)
    batches = batches if limit is None else min(batches, limit)
    return Dataloaders(loader, make(tiles, batches=batches))


def _open(rows: Sequence[SplitRow], usage: Usage, settings: SampleSettings) -> list[AnnotatedCrop]:
    """Open the crops of a usage; with the other classes annotated there, where they tell what is absent."""
    table = settings.class_table
    crops = []
    for row in rows:
        if row.usage == usage:
            others = [name for name in row.classes if settings.use_mutual_exclusion and name in table]
            crops.append(_open_row(row, list(dict.fromkeys([*settings.classes, *others])), table))
    return [crop for crop in crops if crop is not None]


def _open_row(row: SplitRow, classes: Sequence[str], table: ClassTable) -> AnnotatedCrop | None:
    try:
        return open_crop(row, classes, table)
    except MissingDataError as error:
        raise MissingDataError(
            f"{error}; the datasplit names {row.dataset}/{row.crop}: was data moved, or not fetched? `csc verify-data` "
            "looks, `csc make-datasplit` makes a new one"
        ) from error
