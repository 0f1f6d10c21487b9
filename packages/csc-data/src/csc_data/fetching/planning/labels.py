"""The annotations of crops: which files they have, and where in nm they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csc_data.errors import Problem, UnreadableDataError
from csc_data.fetching.plan import FileGroup
from csc_data.fetching.planning.chunk_listing import ChunkLayout
from csc_data.fetching.planning.survey import Survey
from csc_data.fetching.sources import CropSource
from csc_data.formats.ngff import parse_multiscale
from csc_data.geometry import Grid, Roi, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a crop is, and how fine its annotation: what raw it needs."""

    bounds: Roi
    voxel_size: Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelArray:
    """The files of one class of a crop, and the grid of its finest level; None where it does not say."""

    group: FileGroup
    grid: Grid | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CropLabels:
    """The label arrays of one crop, a group of files for each class."""

    source: CropSource
    region: Region
    groups: tuple[FileGroup, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsFound:
    """The crops that have labels to fetch, those that are not in the bucket, and those without the classes."""

    crops: tuple[CropLabels, ...]
    missing: tuple[Problem, ...]
    left_out: tuple[Problem, ...]


def list_classes(survey: Survey, source: CropSource) -> list[str]:
    """Return the names of the label arrays of a crop; a test crop has none."""
    return survey.bucket(source.labels_bucket).children(source.labels)[0] if source.test is None else []


def read_labels(survey: Survey, source: CropSource, name: str) -> LabelArray:
    """List a label array, read where it is, and compare it with what is there."""
    bucket, prefix = survey.bucket(source.labels_bucket), f"{source.labels}/{name}"
    # Empty objects stand for folders.
    files = [f for f in bucket.files_below(prefix) if f.size or f.name.rpartition("/")[2].startswith(".")]
    folder = survey.config.path("labels", dataset=source.dataset, crop=source.name, class_name=name)
    group = FileGroup(bucket=bucket, prefix=prefix, folder=folder, files=files, whole=True)
    survey.compare(group)
    return LabelArray(group=group, grid=_finest_grid(survey, group))


def gather_labels(
    sources: Sequence[CropSource],
    names: Mapping[CropSource, Sequence[str]],
    arrays: Mapping[tuple[CropSource, str], LabelArray],
) -> LabelsFound:
    """Put together what was found of crops.

    Parameters
    ----------
    sources : sequence of CropSource
    names : mapping
        Crop to the names of all of its label arrays.
    arrays : mapping
        Crop and name to those label arrays that are wanted.
    """
    crops, missing, left_out = [], [], []
    for source in sources:
        if source.test is not None:
            grid = source.test.grid
            region = Region(bounds=grid.bounds, voxel_size=grid.voxel_size)
            crops.append(CropLabels(source=source, region=region))
            continue
        where = f"{source.dataset}/{source.name}"
        wanted = [name for name in names[source] if (source, name) in arrays]
        grids = [found for name in wanted if (found := arrays[source, name].grid) is not None]
        if not names[source]:
            place = f"s3://{source.labels_bucket}/{source.labels}"
            missing.append(Problem(where=where, what=f"is not in the bucket ({place})"))
        elif not wanted:
            left_out.append(Problem(where=where, what="has none of the classes"))
        elif not grids:
            missing.append(Problem(where=where, what="none of its label arrays says where it is, so raw has no place"))
        else:
            groups = tuple(arrays[source, name].group for name in wanted)
            crops.append(CropLabels(source=source, region=_region(grids), groups=groups, classes=tuple(wanted)))
    return LabelsFound(crops=tuple(crops), missing=tuple(missing), left_out=tuple(left_out))


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
