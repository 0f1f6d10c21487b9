"""The annotated crops below a data folder or in a bucket: where they are and what they hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from csc_data.config.user_config import choose_endpoint
from csc_data.errors import CscError, MissingDataError, Problem
from csc_data.geometry import Grid
from csc_data.splits.search import CropTemplates, FoundCrop, search_crops
from csc_data.splits.split_file import SplitRow
from csc_data.splits.voxel_counts import Counts, LevelCount, count_annotations
from csc_data.storage.paths import join
from csc_data.storage.trees import FileTree, open_tree
from csc_data.volumes import open_volume

METADATA_FILES = (".zgroup", ".zarray", "zarr.json", "attributes.json")
"""One of them is in every group and array, of zarr 2, zarr 3 or N5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSummary:
    """One annotated crop as found.

    Attributes
    ----------
    dataset, crop : str
        Their names.
    raw, labels : str
        Paths or URLs of the raw volume and of the folder of the crop.
    levels : mapping
        For each class annotated there its scale levels, finest first, with the voxels where it is present; the finest
        alone, where no more was asked for.
    """

    dataset: str
    crop: str
    raw: str
    labels: str
    levels: Mapping[str, tuple[LevelCount, ...]]

    @property
    def voxels(self) -> dict[str, int]:
        """Voxels of each class at its finest level."""
        return {name: levels[0].present for name, levels in self.levels.items()}


def find_crops(
    templates: CropTemplates,
    classes: Sequence[str] | None = None,
    *,
    datasets: Sequence[str] = ("*",),
    crops: Sequence[str] = ("*",),
    all_levels: bool = False,
) -> tuple[list[CropSummary], list[Problem]]:
    """Look for annotated crops.

    Parameters
    ----------
    templates : CropTemplates
        Where they are looked for.
    classes : sequence of str, optional
        The classes wanted; all that are annotated by default.
    datasets, crops : sequence of str
        Names or patterns of those wanted, as for `csc_data.splits.search.search_crops`.
    all_levels : bool
        Whether to count voxels at every scale level, or at the finest alone.

    Returns
    -------
    crops : list of CropSummary
        By data set and crop, those with at least one of the classes.
    left_out : list of Problem
        The others.

    Raises
    ------
    MissingDataError
        If there is no annotated crop of such a name.
    UnreadableDataError
        If a folder cannot be listed.
    """
    tree = _open(templates)
    found = search_crops(tree, templates, datasets, crops)
    if not found:
        names = f" {', '.join(crops)} of data set {', '.join(datasets)}" if (*datasets, *crops) != ("*", "*") else ""
        raise MissingDataError(f"{templates.place} holds no annotated crop{names} (looked for {templates.labels})")
    raws = _find_raws(tree, {crop.raw for crop in found})
    wanted = {crop.path: [n for n in _class_names(crop) if classes is None or n in classes] for crop in found}
    annotations = [(crop, name) for crop in found if raws[crop.raw] for name in wanted[crop.path]]
    counts = count_annotations(tree, [f"{c.path}/{name}" for c, name in annotations], all_levels=all_levels)
    levels: dict[str, dict[str, Counts]] = {crop.path: {} for crop in found}
    for (crop, name), count in zip(annotations, counts, strict=True):
        levels[crop.path][name] = count
    summaries, left_out = [], []
    for crop in found:
        where = f"{crop.dataset}/{crop.crop}"
        raw = raws[crop.raw]
        counted = {n: count for n, count in levels[crop.path].items() if not isinstance(count, CscError)}
        for name, count in levels[crop.path].items():
            if isinstance(count, CscError):
                left_out.append(Problem(where=f"{where}/{name}", what=str(count), remedy="fetch it again"))
        if raw is None:
            left_out.append(Problem(where=where, what=f"has no raw data at {crop.raw}", remedy="fetch it, too"))
        elif counted:
            summaries.append(
                CropSummary(dataset=crop.dataset, crop=crop.crop, raw=raw, labels=crop.path, levels=counted)
            )
        elif not wanted[crop.path]:
            annotated = ", ".join(_class_names(crop)) or "none"
            left_out.append(Problem(where=where, what=f"has none of the classes (annotated are {annotated})"))
    return summaries, left_out


def count_crops(templates: CropTemplates, classes: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """Count the crops that each class is annotated in, by data set and class; no annotation is opened.

    Parameters
    ----------
    templates : CropTemplates
        Where crops are looked for; those without raw do not count.
    classes : sequence of str, optional
        The classes to count; all that are annotated by default.
    """
    tree = _open(templates)
    found = search_crops(tree, templates)
    raws = _find_raws(tree, {crop.raw for crop in found})
    counts: dict[str, dict[str, int]] = {}
    for crop in found:
        for name in _class_names(crop) if classes is None else classes:
            if raws[crop.raw] and name in crop.names:
                own = counts.setdefault(crop.dataset, {})
                own[name] = own.get(name, 0) + 1
    return counts


def _open(templates: CropTemplates) -> FileTree:
    return open_tree(templates.labels, choose_endpoint(templates.labels, templates.endpoint) or "")


def _find_raws(tree: FileTree, raws: Iterable[str]) -> dict[str, str | None]:
    """Return where the raw volumes really are: in their zarr, or in an N5 of the same name; None if in neither."""
    places = {raw: [raw] if ".zarr" not in raw else [raw, raw.replace(".zarr", ".n5")] for raw in raws}
    files = [join(place, name) for options in places.values() for place in options for name in METADATA_FILES]
    there = dict(zip(files, (content is not None for content in tree.read(files)), strict=True))
    return {
        raw: next((place for place in options if any(there[join(place, name)] for name in METADATA_FILES)), None)
        for raw, options in places.items()
    }


def _class_names(crop: FoundCrop) -> list[str]:
    return [name for name in crop.names if name != "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCrop:
    """Where one annotated crop lies, to predict it.

    Attributes
    ----------
    dataset, crop : str
        Their names.
    raw : str
        Path or URL of the raw volume.
    grid : Grid
        The finest grid that it is annotated on.
    classes : tuple of str
        The classes annotated there.
    """

    dataset: str
    crop: str
    raw: str
    grid: Grid
    classes: tuple[str, ...]


def validation_crops(rows: Sequence[SplitRow]) -> tuple[PlacedCrop, ...]:
    """Return the validation crops of a datasplit; rows of one crop count once.

    Raises
    ------
    MissingDataError
        If the datasplit validates nothing, or an annotation is not there.
    """
    chosen: dict[str, SplitRow] = {}
    for row in rows:
        if row.usage == "validate":
            chosen.setdefault(row.labels, row)
    if not chosen:
        raise MissingDataError("the datasplit has no validation crop")
    return tuple(
        PlacedCrop(
            dataset=row.dataset,
            crop=row.crop,
            raw=row.raw,
            grid=_finest_grid(row.labels, row.classes, None),
            classes=row.classes,
        )
        for row in chosen.values()
    )


def annotated_crops(
    templates: CropTemplates, *, datasets: Sequence[str] = ("*",), crops: Sequence[str] = ("*",)
) -> tuple[PlacedCrop, ...]:
    """Return the annotated crops of such names, without counting their voxels; none where there is none.

    Parameters
    ----------
    templates : CropTemplates
        Where they are looked for.
    datasets, crops : sequence of str
        Names or patterns, as for `csc_data.splits.search.search_crops`.

    Raises
    ------
    UnreadableDataError
        If a folder cannot be listed, or an annotation cannot be read.
    """
    tree = _open(templates)
    found = [crop for crop in search_crops(tree, templates, datasets, crops) if _class_names(crop)]
    raws = _find_raws(tree, {crop.raw for crop in found})
    return tuple(
        PlacedCrop(
            dataset=crop.dataset,
            crop=crop.crop,
            raw=raws[crop.raw] or crop.raw,
            grid=_finest_grid(crop.path, _class_names(crop), templates.endpoint or None),
            classes=tuple(_class_names(crop)),
        )
        for crop in found
    )


def _finest_grid(labels: str, classes: Sequence[str], endpoint: str | None) -> Grid:
    grids = [open_volume(join(labels, name), endpoint=endpoint).levels[0].grid for name in classes]
    return min(grids, key=lambda one: math.prod(one.voxel_size))
