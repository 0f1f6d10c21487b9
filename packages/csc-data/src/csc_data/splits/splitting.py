"""Making a datasplit: which of the annotated crops train and which validate, so that every class has both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from csc_data.challenge import ClassTable, label_classes, load_classes
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, Problem, ProblemsError
from csc_data.geometry import LEVEL_TOLERANCE, Triple
from csc_data.splits.crops import CropSummary, find_crops
from csc_data.splits.listed_crops import list_crops
from csc_data.splits.search import CropTemplates
from csc_data.splits.split_file import SplitRow
from csc_data.splits.stratification import stratify
from csc_data.volumes.volume import open_volume

GroupBy = Literal["crop", "dataset"]
ForceAllClasses = bool | Literal["train", "validate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """What a split should be like.

    Attributes
    ----------
    classes : sequence of str, optional
        The classes to train; all that are annotated by default.
    validation_share : float
        Share of the crops of each class that should validate, at least 0 and below 1.
    seed : int
        Which of the equally good splits.
    group_by : {"crop", "dataset"}
        What stays together: one crop, or all crops of a data set.
    min_voxels : int
        A crop counts as having a class from this many voxels on.
    scale : tuple of float, optional
        nm, z, y, x. Classes, and raw, whose finest level is coarser on any axis are left out.
    force_all_classes : bool or {"train", "validate"}
        True leaves out crops that lack a class; "train" lets them validate, "validate" lets them train.
    datasets, crops : sequence of str
        Names or patterns of those wanted: ``jrc_mus*``; ``234``, ``crop234`` or ``crop2*``.
    by_list : bool
        Whether to take classes and scales from the challenge's list in this package, for crops in its bucket: no
        network is used, but no voxel is counted, and the scale of the raw is not looked at.
    """

    classes: Sequence[str] | None = None
    validation_share: float = 0.2
    seed: int = 0
    group_by: GroupBy = "crop"
    min_voxels: int = 1
    scale: Triple | None = None
    force_all_classes: ForceAllClasses = False
    datasets: Sequence[str] = ("*",)
    crops: Sequence[str] = ("*",)
    by_list: bool = False

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.validation_share < 1:
            what = f"must be at least 0 and below 1, got {self.validation_share}"
            problems.append(Problem(where="validation_share", what=what))
        if self.group_by not in get_args(GroupBy):
            problems.append(Problem(where="group_by", what=f"must be crop or dataset, got {self.group_by!r}"))
        if self.force_all_classes not in (True, False, "train", "validate"):
            what = f"must be True, False, train or validate, got {self.force_all_classes!r}"
            problems.append(Problem(where="force_all_classes", what=what))
        if self.force_all_classes and self.classes is None:
            problems.append(Problem(where="classes", what="must be named where crops need all of them"))
        if self.scale is not None and not all(0 < size < math.inf for size in self.scale):
            problems.append(Problem(where="scale", what=f"must be positive nm, got {self.scale}"))
        if problems:
            raise ProblemsError("datasplit options", problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasplit:
    """A split and what there is to say of it.

    Attributes
    ----------
    rows : tuple of SplitRow
    voxels : dict
        Voxels of each class by side: ``voxels["mito"]["train"]``. By the challenge's list, all that are annotated.
    crops : dict
        Crops that have the class by side.
    left_out : tuple of Problem
        Crops, and classes of crops, that are not used, and why.
    """

    rows: tuple[SplitRow, ...]
    voxels: Mapping[str, Mapping[str, int]]
    crops: Mapping[str, Mapping[str, int]]
    left_out: tuple[Problem, ...]


def make_datasplit(
    where: Config | CropTemplates, options: SplitOptions | None = None, *, table: ClassTable | None = None
) -> Datasplit:
    """Split annotated crops into training and validation.

    The split is a function of the data and the options. Each class that at least two groups have gets crops on both
    sides, as far as the classes together allow it.

    Parameters
    ----------
    where : Config or CropTemplates
        The data folder of this configuration, or any other place, also a bucket.
    options : SplitOptions, optional
    table : ClassTable, optional
        Which classes there are; by default those of the data folder, or of the challenge.

    Raises
    ------
    MissingDataError
        If there is no data, or no crop has what is asked for.

    Examples
    --------
    >>> from csc_data import SplitOptions, make_datasplit
    >>> from csc_data.splits.search import CropTemplates
    >>> from csc_data import load_config
    >>> bucket = CropTemplates.in_bucket(load_config(environ={}))
    >>> split = make_datasplit(bucket, SplitOptions(classes=["nuc", "mito"], datasets=["jrc_cos7-1*"], by_list=True))
    >>> sorted({row.usage for row in split.rows})
    ['train', 'validate']
    """
    options = options or SplitOptions()
    if isinstance(where, Config):
        if not where.root.is_dir():
            raise MissingDataError(
                f"there is no data folder {where.root}; name another with --data, or fetch data into it"
            )
        table = load_classes(where) if table is None else table
        where = CropTemplates.below(where)
    table = label_classes() if table is None else table
    find = list_crops if options.by_list else find_crops
    found, left_out = find(where, options.classes, datasets=options.datasets, crops=options.crops)
    annotated = {name for crop in found for name in crop.levels}
    table.check(options.classes or (), annotated)
    crops = _usable(found, options, left_out)
    if not crops:
        reasons = "; ".join(map(str, left_out[:3])) + ("; ..." if len(left_out) > 3 else "")
        raise MissingDataError(f"no crop of {where.place} can be used: {reasons}")
    if not any(_present(crop, options) for crop in crops):
        raise MissingDataError(
            f"no crop of {where.place} has {options.min_voxels:,} or more voxels of any class; lower min_voxels"
        )
    validates = _choose_sides(crops, options)
    rows = tuple(
        SplitRow(
            usage="validate" if side else "train",
            raw=crop.raw,
            labels=crop.labels,
            classes=tuple(crop.levels),
        )
        for crop, side in zip(crops, validates, strict=True)
    )
    names = options.classes or sorted({name for crop in crops for name in crop.levels})
    voxels: dict[str, dict[str, int]] = {name: {"train": 0, "validate": 0} for name in names}
    counts: dict[str, dict[str, int]] = {name: {"train": 0, "validate": 0} for name in names}
    for crop, row in zip(crops, rows, strict=True):
        present = _present(crop, options)
        for name, count in crop.voxels.items():
            voxels[name][row.usage] += count
            counts[name][row.usage] += name in present
    return Datasplit(rows=rows, voxels=voxels, crops=counts, left_out=tuple(left_out))


def _present(crop: CropSummary, options: SplitOptions) -> set[str]:
    return {name for name, count in crop.voxels.items() if count >= options.min_voxels}


def _usable(found: Sequence[CropSummary], options: SplitOptions, left_out: list[Problem]) -> list[CropSummary]:
    """Return the crops, and of each the classes, that the options allow; the others go to ``left_out``."""
    crops = list(found)
    if options.scale is not None:
        crops = _fine_enough(crops, options.scale, left_out, look_at_raw=not options.by_list)
    if options.force_all_classes is True:
        kept = []
        for crop in crops:
            missing = sorted(set(options.classes or ()) - _present(crop, options))
            if missing:
                where = f"{crop.dataset}/{crop.crop}"
                left_out.append(Problem(where=where, what=f"has not all classes: lacks {', '.join(missing)}"))
            else:
                kept.append(crop)
        crops = kept
    return crops


def _fine_enough(
    crops: Sequence[CropSummary], scale: Triple, left_out: list[Problem], *, look_at_raw: bool
) -> list[CropSummary]:
    """Return the crops whose raw has a level as fine as asked, with those of their classes that have one, too."""
    words = " x ".join(f"{size:g}" for size in scale)
    raws = {crop.raw for crop in crops} if look_at_raw else set()
    finest = {raw: open_volume(raw).levels[0].grid.voxel_size for raw in raws}
    kept = []
    for crop in crops:
        where = f"{crop.dataset}/{crop.crop}"
        levels = {name: own for name, own in crop.levels.items() if not is_coarser(own[0].voxel_size, scale)}
        if look_at_raw and is_coarser(finest[crop.raw], scale):
            left_out.append(Problem(where=where, what=f"has no raw as fine as {words} nm"))
            continue
        coarse = [name for name in crop.levels if name not in levels]
        if coarse:
            left_out.append(Problem(where=where, what=f"has no level as fine as {words} nm of {', '.join(coarse)}"))
        if levels:
            kept.append(replace(crop, levels=levels))
    return kept


def is_coarser(voxel_size: Triple, scale: Triple) -> bool:
    """Tell whether voxels are larger than wanted along any axis.

    Examples
    --------
    >>> is_coarser((16.0, 16.0, 16.0), (8.0, 8.0, 8.0)), is_coarser((8.0, 8.0, 8.0), (8.0, 8.0, 8.0))
    (True, False)
    """
    return any(have > want * (1 + LEVEL_TOLERANCE) for have, want in zip(voxel_size, scale, strict=True))


def _choose_sides(crops: Sequence[CropSummary], options: SplitOptions) -> list[bool]:
    """Tell which crops validate. Crops of one id, should it stand in two places, stay together."""
    groups: dict[str, list[int]] = {}
    for index, crop in enumerate(crops):
        groups.setdefault(crop.dataset if options.group_by == "dataset" else crop.crop, []).append(index)
    # A crop that lacks a class has one side left; its group goes there with it.
    side = {"train": True, "validate": False}.get(str(options.force_all_classes))
    all_classes = set(options.classes or ())
    fixed = [
        side if side is not None and any(not all_classes <= _present(crops[i], options) for i in members) else None
        for members in groups.values()
    ]
    present = [set().union(*(_present(crops[i], options) for i in members)) for members in groups.values()]
    chosen = stratify(present, options.validation_share, options.seed, fixed)
    sides = {i: validates for members, validates in zip(groups.values(), chosen, strict=True) for i in members}
    return [sides[index] for index in range(len(crops))]
