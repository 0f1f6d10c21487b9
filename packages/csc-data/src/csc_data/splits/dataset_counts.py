"""How much of each class there is, by data set and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csc_data.challenge import ClassTable, UnknownClassError, label_classes
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


def count_by_dataset(
    where: CropTemplates,
    classes: Sequence[str] | None = None,
    *,
    datasets: Sequence[str] = ("*",),
    crops: Sequence[str] = ("*",),
    all_levels: bool = True,
    table: ClassTable | None = None,
) -> tuple[list[ClassCount], list[Problem]]:
    """Count crops and voxels of each class in each data set, at each scale.

    Parameters
    ----------
    where : CropTemplates
        Where crops lie.
    classes : sequence of str, optional
        The classes to count; all that are annotated by default.
    datasets, crops : sequence of str
        Names or patterns.
    all_levels : bool
        Whether to count at every scale level, or at the finest of each annotation.
    table : ClassTable, optional
        Which classes there are; the challenge's by default.

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
    table = label_classes() if table is None else table
    found, left_out = find_crops(where, classes, datasets=datasets, crops=crops, all_levels=all_levels)
    annotated = {name for crop in found for name in crop.levels}
    for name in classes or ():
        if name not in annotated and name not in table:
            raise UnknownClassError(name, table)
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
