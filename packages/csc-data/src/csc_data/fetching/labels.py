"""The annotations of crops: which files they have, and where in nm they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import Problem, UnreadableDataError
from csc_data.fetching.listing import ChunkLayout
from csc_data.fetching.plan import FileGroup
from csc_data.fetching.sources import CropSource
from csc_data.fetching.survey import Survey
from csc_data.formats.ngff import parse_multiscale
from csc_data.geometry import Grid, Roi, Triple
from csc_data.storage.bucket import RemoteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a crop is, and how fine its annotation: what raw it needs."""

    bounds: Roi
    voxel_size: Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class CropLabels:
    """The label arrays of one crop, a group of files for each class."""

    source: CropSource
    region: Region
    groups: tuple[FileGroup, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsFound:
    """The crops that have labels to fetch, those that are not in the bucket, and those without the classes."""

    crops: tuple[CropLabels, ...]
    missing: tuple[Problem, ...]
    left_out: tuple[Problem, ...]


def find_labels(survey: Survey, sources: Sequence[CropSource]) -> LabelsFound:
    """List the label arrays of crops and read where they are; test crops have none, and their place is known."""
    annotated = [source for source in sources if source.test is None]
    children = survey.ask(lambda source: survey.bucket(source.labels_bucket).children(source.labels)[0], annotated)
    wanted = {source: _wanted(names, survey.options.classes) for source, names in children.items()}
    files = survey.ask(
        lambda pair: survey.bucket(pair[0].labels_bucket).files_below(f"{pair[0].labels}/{pair[1]}"),
        [(source, name) for source in annotated for name in wanted[source]],
    )
    groups = {
        (source, name): FileGroup(
            bucket=survey.bucket(source.labels_bucket),
            prefix=f"{source.labels}/{name}",
            folder=class_folder(survey, source, name),
            files=without_folders(listed),
            whole=True,
        )
        for (source, name), listed in files.items()
    }
    grids = survey.ask(lambda pair: _finest_grid(survey, groups[pair]), groups)
    crops: list[CropLabels] = []
    missing: list[Problem] = []
    left_out: list[Problem] = []
    for source in sources:
        if source.test is not None:
            grid = source.test.grid
            region = Region(bounds=grid.bounds, voxel_size=grid.voxel_size)
            crops.append(CropLabels(source=source, region=region, groups=(), classes=()))
            continue
        found = _describe(source, children[source], wanted[source])
        placed = [place for name in wanted[source] if (place := grids[source, name]) is not None]
        if found is None and not placed:
            found = Problem(where=_where(source), what="none of its label arrays says where it is, so raw has no place")
        if found is not None:
            (left_out if children[source] and not wanted[source] else missing).append(found)
            continue
        crops.append(
            CropLabels(
                source=source,
                region=_region(placed),
                groups=tuple(groups[source, name] for name in wanted[source]),
                classes=tuple(wanted[source]),
            )
        )
    return LabelsFound(crops=tuple(crops), missing=tuple(missing), left_out=tuple(left_out))


def class_folder(survey: Survey, source: CropSource, name: str) -> Path:
    """Return where a label array goes."""
    return survey.config.path("labels", dataset=source.dataset, crop=source.name, class_name=name)


def without_folders(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Leave out the empty objects that stand for folders."""
    return [file for file in files if file.size or file.name.rpartition("/")[2].startswith(".")]


def _wanted(names: Sequence[str], classes: Sequence[str] | None) -> list[str]:
    return [name for name in names if classes is None or name in classes]


def _where(source: CropSource) -> str:
    return f"{source.dataset}/{source.name}"


def _describe(source: CropSource, names: Sequence[str], wanted: Sequence[str]) -> Problem | None:
    """Say why a crop without label arrays to fetch has none."""
    if not names:
        return Problem(where=_where(source), what=f"is not in the bucket (s3://{source.labels_bucket}/{source.labels})")
    if not wanted:
        return Problem(where=_where(source), what="has none of the classes")
    return None


def _finest_grid(survey: Survey, group: FileGroup) -> Grid | None:
    """Return the grid of the finest level of a label array; None where it does not say."""
    attributes = survey.read_json(group, ".zattrs")
    if not attributes:
        return None
    place = group.bucket.url(group.prefix)
    try:
        levels = parse_multiscale(place, attributes)
    except UnreadableDataError:
        return None  # it is fetched all the same; reading it will tell
    finest = min(levels, key=lambda level: level.voxel_size[0] * level.voxel_size[1] * level.voxel_size[2])
    metadata = survey.read_json(group, f"{finest.name}/.zarray")
    if metadata is None:
        return None
    return finest.grid(ChunkLayout.parse(f"{place}/{finest.name}", finest.name, metadata).shape)


def _region(grids: Sequence[Grid]) -> Region:
    bounds = [grid.bounds for grid in grids]
    begin = [min(box.begin[axis] for box in bounds) for axis in range(3)]
    end = [max(box.end[axis] for box in bounds) for axis in range(3)]
    size = [min(grid.voxel_size[axis] for grid in grids) for axis in range(3)]
    return Region(
        bounds=Roi((begin[0], begin[1], begin[2]), (end[0], end[1], end[2])), voxel_size=(size[0], size[1], size[2])
    )
