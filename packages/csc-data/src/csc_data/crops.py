"""The annotated crops below a data folder: where they are and what they hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csc_data.arrays import child_names, join
from csc_data.challenge import TestCrop
from csc_data.datasplit import SplitRow
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError, Problem
from csc_data.settings import Settings
from csc_data.volumes import open_volume


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSummary:
    """One annotated crop as found on disk.

    ``voxels`` tells, for each class annotated there, how many of its voxels are present (not 0), counted at ``s0``.
    """

    dataset: str
    crop: str
    raw: str
    labels: str
    voxels: Mapping[str, int]


def find_crops(settings: Settings, classes: Sequence[str] | None = None) -> tuple[list[CropSummary], list[Problem]]:
    """Look for annotated crops below the data folder.

    Parameters
    ----------
    settings : Settings
        Their ``raw`` and ``labels`` templates tell where.
    classes : sequence of str, optional
        The classes wanted; all that are annotated by default.

    Returns
    -------
    crops : list of CropSummary
        By data set and crop, those with at least one of the classes.
    left_out : list of Problem
        The others.

    Raises
    ------
    MissingDataError
        If the data folder does not exist or holds no crop.
    """
    root = settings.root
    if not root.is_dir():
        raise MissingDataError(f"there is no data folder {root}; name another with --data, or fetch data into it")
    pattern = settings.labels.format(dataset="*", crop="*", class_name="").rstrip("/")
    folders = sorted((path for path in root.glob(pattern) if path.is_dir()), key=_natural)
    crops, left_out = [], []
    for folder in folders:
        found = settings.placeholders("labels", folder / "any")  # the template goes on to a class
        summary = _summarise(folder, found["dataset"] if found else "", settings, classes)
        if isinstance(summary, Problem):
            left_out.append(summary)
        else:
            crops.append(summary)
    if not folders:
        raise MissingDataError(f"{root} holds no annotated crop (looked for {pattern})")
    return crops, left_out


def validation_crops(rows: Sequence[SplitRow]) -> tuple[TestCrop, ...]:
    """Return the validation crops of a datasplit in the form of test crops, to predict and score them alike.

    Parameters
    ----------
    rows : sequence of SplitRow
        A datasplit; rows of one crop count once.

    Returns
    -------
    tuple of TestCrop
        On the lattice of the annotation's finest level.

    Raises
    ------
    MissingDataError
        If the datasplit validates nothing, or an annotation is not there.
    InvalidArgumentError
        If the name of a crop has no number.
    """
    crops: dict[str, TestCrop] = {}
    for row in rows:
        if row.usage != "validate" or row.labels in crops:
            continue
        digits = row.crop.removeprefix("crop")
        if not digits.isdigit():
            raise InvalidArgumentError(f"{row.labels}: the name of a crop must be like crop234")
        grids = [open_volume(join(row.labels, name)).levels[0].grid for name in row.classes]
        grid = min(grids, key=lambda one: math.prod(one.voxel_size))
        crops[row.labels] = TestCrop(
            id=int(digits),
            dataset=row.dataset,
            voxel_size=grid.voxel_size,
            translation=grid.translation,
            shape=grid.shape,
            classes=row.classes,
        )
    if not crops:
        raise MissingDataError("the datasplit has no validation crop")
    return tuple(crops.values())


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts crop9 before crop10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.as_posix())]


def _summarise(folder: Path, dataset: str, settings: Settings, classes: Sequence[str] | None) -> CropSummary | Problem:
    where = f"{dataset}/{folder.name}"
    if not dataset:
        return Problem(where=str(folder), what="does not follow the path template of labels")
    raw = settings.path("raw", dataset=dataset)
    if not raw.is_dir():
        return Problem(where=where, what=f"has no raw data at {raw}", remedy="fetch it, too")
    found = [name for name in child_names(folder) if name != "all"]
    wanted = [name for name in found if classes is None or name in classes]
    if not wanted:
        return Problem(where=where, what=f"has none of the classes (annotated are {', '.join(found) or 'none'})")
    try:
        voxels = {name: _count_present(folder / name) for name in wanted}
    except CscError as error:
        return Problem(where=where, what=str(error), remedy="fetch it again")
    return CropSummary(
        dataset=dataset, crop=folder.name, raw=str(raw.absolute()), labels=str(folder.absolute()), voxels=voxels
    )


def _count_present(path: Path) -> int:
    volume = open_volume(path)
    level = volume.levels[0]
    # Slab by slab: annotations of 1000^3 voxels must not be loaded whole.
    step = max(1, int(level.array.chunks[0]))
    count = 0
    for start in range(0, level.grid.shape[0], step):
        window = level.grid.window((start, 0, 0), (min(step, level.grid.shape[0] - start), *level.grid.shape[1:]))
        count += int(np.count_nonzero(volume.read(window, order=0)))
    return count
