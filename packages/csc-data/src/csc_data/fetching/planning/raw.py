"""The raw around crops: which levels, which box at each, which chunks in it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from csc_data.errors import MissingDataError, Problem, UnreadableDataError
from csc_data.fetching.plan import FetchOptions, FileGroup
from csc_data.fetching.planning.chunk_listing import Box, ChunkLayout, Listing, chunks_in, listings_for
from csc_data.fetching.planning.labels import Region
from csc_data.fetching.planning.survey import GROUP_METADATA, Survey
from csc_data.fetching.sources import INTERPOLATED_VOXELS, CropSource
from csc_data.formats.ngff import LevelPlace, parse_multiscale
from csc_data.geometry import LEVEL_TOLERANCE, Grid
from csc_data.storage.bucket import RemoteFile

MATCHING = 0.8
"""A level matches an annotation if its voxels have, along each axis, more than this share of its size (the official
rule); all levels coarser than the annotation match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLevel:
    """One scale level of a raw volume in a bucket: its grid and its chunks."""

    grid: Grid
    array: ChunkLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGroup:
    """The multiscale group of a raw volume in a bucket: its metadata files, and what they say of its levels."""

    group: FileGroup
    places: tuple[LevelPlace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawVolume:
    """A raw volume in a bucket: its metadata files and its levels, finest first."""

    group: FileGroup
    levels: tuple[RawLevel, ...]


RawPlace = tuple[str, str, str]
"""Bucket and key of a raw volume, and its data set."""


def raw_place(crop: CropSource) -> RawPlace:
    """Return where the raw of a crop is."""
    return crop.bucket, crop.raw, crop.dataset


def open_raw(survey: Survey, place: RawPlace) -> RawGroup | Problem:
    """Read the metadata of a raw volume; a problem if it is not there."""
    bucket, key, dataset = place
    store = survey.bucket(bucket)
    try:
        names, files = store.children(key)
    except MissingDataError as error:
        return Problem(where=dataset, what=str(error))
    group = FileGroup(
        bucket=store,
        prefix=key,
        folder=survey.config.path("raw", dataset=dataset),
        files=[file for file in files if file.name in GROUP_METADATA],
    )
    if any(file.name == "zarr.json" for file in files):
        what = f"{store.url(key)} is in zarr format 3; format 2 is what can be fetched in parts"
        return Problem(where=dataset, what=what)
    attributes = survey.read_json(group, ".zattrs")
    if not attributes:
        return Problem(where=dataset, what=f"has no raw volume in the bucket ({store.url(key)})")
    # Metadata may name a level that was never uploaded.
    places = tuple(level for level in parse_multiscale(store.url(key), attributes) if level.name in names)
    return RawGroup(group=group, places=places)


def read_level(survey: Survey, raw: RawGroup, place: LevelPlace) -> RawLevel | None:
    """Read the metadata of a level and add it to the files of its volume; None if it has none."""
    store, prefix = raw.group.bucket, raw.group.prefix
    # The dot comes before all digits, so these files are listed without the chunks.
    listed = store.files_below(f"{prefix}/{place.name}", begin=".z")
    raw.group.files += [file._replace(name=f"{place.name}/{file.name}") for file in listed if "/" not in file.name]
    metadata = survey.read_json(raw.group, f"{place.name}/.zarray")
    if metadata is None:
        return None
    array = ChunkLayout.parse(f"{store.url(prefix)}/{place.name}", place.name, metadata)
    return RawLevel(grid=place.grid(array.shape), array=array)


def raw_volume(raw: RawGroup, levels: Sequence[RawLevel | None]) -> RawVolume:
    """Put the levels of a volume in order, finest first.

    Raises
    ------
    UnreadableDataError
        If there are none.
    """
    found = [level for level in levels if level is not None]
    if not found:
        place = raw.group.bucket.url(raw.group.prefix)
        raise UnreadableDataError(f"{place}: none of the levels that its .zattrs names is there")
    raw.group.files.sort()  # levels were read side by side
    return RawVolume(group=raw.group, levels=tuple(sorted(found, key=lambda level: math.prod(level.grid.voxel_size))))


def choose_levels(levels: Sequence[RawLevel], region: Region, *, all_resolutions: bool) -> tuple[RawLevel, ...]:
    """Return the levels that match an annotation, finest first.

    Those are the official tool's, and the level that reading at the annotation's voxel size takes: where voxels are
    anisotropic (5.24 x 4 x 4 nm under an annotation of 8 nm) that one can be finer, and without it raw would read as
    black.
    """
    if all_resolutions:
        return tuple(levels)
    size = region.voxel_size
    fine = [
        level
        for level in levels
        if all(v <= w * (1 + LEVEL_TOLERANCE) for v, w in zip(level.grid.voxel_size, size, strict=True))
    ]
    needed = fine[-1] if fine else levels[0]
    return tuple(
        level
        for level in levels
        if level is needed or all(v / w > MATCHING for v, w in zip(level.grid.voxel_size, size, strict=True))
    )


def level_box(level: RawLevel, region: Region, padding: int) -> Box:
    """Return the chunks of a level that hold a crop and ``padding`` voxels of this level around it.

    The box of voxels covers the crop's bounds fully; it is half-open, and ends at the volume.
    """
    begin, window = level.grid.window_covering(region.bounds)
    return level.array.box(
        [b - padding for b in begin],
        [n + 2 * padding if n else 0 for n in window.shape],
    )


Boxes = tuple[tuple[ChunkLayout, Box], ...]
"""For each level that is needed, its chunks."""


def crop_boxes(volume: RawVolume, region: Region, options: FetchOptions) -> Boxes:
    """Return the chunks that a crop needs."""
    chosen = choose_levels(volume.levels, region, all_resolutions=options.all_resolutions)
    padding = options.raw_padding
    if options.raw_reach:
        bounds = region.bounds.grow(options.raw_reach(region.bounds.extent))
        region, padding = replace(region, bounds=bounds), INTERPOLATED_VOXELS
    return tuple((level.array, level_box(level, region, padding)) for level in chosen)


Question = tuple[RawPlace, ChunkLayout, Listing]
"""What to list of which volume."""

Chunks = list[tuple[int, int, int, RemoteFile]]
"""Files with their index."""


def chunk_questions(place: RawPlace, boxes: Iterable[Boxes]) -> list[Question]:
    """Return the listings that hold what crops of one volume need."""
    by_level: dict[ChunkLayout, list[Box]] = defaultdict(list)
    for found in boxes:
        for array, box in found:
            by_level[array].append(box)
    return [
        (place, array, listing)
        for array, found in by_level.items()
        for listing in sorted(listings_for(array, found), key=lambda listing: (listing.folder, listing.begin))
    ]


def list_chunks(volume: RawVolume, array: ChunkLayout, listing: Listing) -> Chunks:
    """List chunks of a level, each with its index."""
    found = []
    group = volume.group
    for file in group.bucket.files_below(f"{group.prefix}/{listing.folder}", begin=listing.begin):
        full = file._replace(name=f"{listing.folder}/{file.name}")
        index = array.index(full.name)
        if index is not None and file.size:
            found.append((*index, full))
    return found


Rows = dict[tuple[int, int], list[tuple[int, RemoteFile]]]
"""Chunks of a level by row (z, y), each with its index along x."""


def share_chunks(crops: Iterable[Boxes], rows: Mapping[ChunkLayout, Rows]) -> list[list[RemoteFile]]:
    """Return the chunks of each crop, without those that a crop before it needs as well."""
    shares = []
    seen: set[str] = set()
    for boxes in crops:
        files = []
        for array, box in boxes:
            for file in chunks_in(box, rows.get(array, {})):
                if file.name not in seen:
                    seen.add(file.name)
                    files.append(file)
        shares.append(files)
    return shares
