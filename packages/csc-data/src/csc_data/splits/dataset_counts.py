"""How much of each class there is, by data set and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from csc_data.challenge import ClassTable, label_classes
from csc_data.errors import Problem
from csc_data.geometry import Triple
from csc_data.splits.crops import find_crops
from csc_data.splits.search import CropTemplates, natural_key
from csc_data.splits.voxel_counts import LevelCount


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """One class at one scale of a data set's annotations.

    Attributes
    ----------
    dataset, class_name : str
    voxel_size : tuple of float
        nm, z, y, x.
    crops, crops_present : int
        Crops that are annotated at this scale, and those of them where the class is present.
    size, present : int
        Voxels annotated, and those where the class is present.
    """

    dataset: str
    class_name: str
    voxel_size: Triple
    crops: int
    crops_present: int
    size: int
    present: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountOptions:
    """What is counted.

    Attributes
    ----------
    classes : sequence of str, optional
        All that are annotated by default.
    datasets, crops : sequence of str
        Names or patterns.
    all_levels : bool
        Whether at every scale level, or at the finest of each annotation.
    table : ClassTable
        Which classes there are.
    """

    classes: Sequence[str] | None = None
    datasets: Sequence[str] = ("*",)
    crops: Sequence[str] = ("*",)
    all_levels: bool = True
    table: ClassTable = field(default_factory=label_classes)


def count_by_dataset(
    where: CropTemplates, options: CountOptions | None = None
) -> tuple[list[ClassCount], list[Problem]]:
    """Count crops and voxels of each class in each data set, at each scale.

    Parameters
    ----------
    where : CropTemplates
        Where crops lie.
    options : CountOptions, optional

    Returns
    -------
    counts : list of ClassCount
        By data set, class (in the order of their ids) and scale, finest first.
    left_out : list of Problem
        Crops and annotations that could not be counted.

    Raises
    ------
    MissingDataError
        If there is no annotated crop.
    UnknownClassError
        If a class is neither in the table nor annotated.
    """
    options = options or CountOptions()
    table = options.table
    found, left_out = find_crops(
        where, options.classes, datasets=options.datasets, crops=options.crops, all_levels=options.all_levels
    )
    table.check(options.classes or (), annotated={name for crop in found for name in crop.levels})
    levels: dict[tuple[str, str, Triple], list[LevelCount]] = {}
    for crop in found:
        for name, own in crop.levels.items():
            for level in own:
                levels.setdefault((crop.dataset, name, level.voxel_size), []).append(level)
    ids = {name: entry.id for name, entry in table.items()}
    ordered = sorted(
        levels.items(), key=lambda item: (natural_key(item[0][0]), ids.get(item[0][1], len(ids)), item[0][1:])
    )
    counts = [
        ClassCount(
            dataset=dataset,
            class_name=name,
            voxel_size=voxel_size,
            crops=len(own),
            crops_present=sum(level.present > 0 for level in own),
            size=sum(level.size for level in own),
            present=sum(level.present for level in own),
        )
        for (dataset, name, voxel_size), own in ordered
    ]
    return counts, left_out
