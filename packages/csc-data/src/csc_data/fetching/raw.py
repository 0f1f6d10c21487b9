"""The raw around crops: which levels, which box at each, which chunks in it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csc_data.errors import Problem, UnreadableDataError
from csc_data.fetching.labels import CropLabels, Region
from csc_data.fetching.listing import Box, ChunkLayout, Listing, chunks_in, listings_for
from csc_data.fetching.plan import FileGroup
from csc_data.fetching.survey import GROUP_METADATA, Survey
from csc_data.formats.ngff import parse_multiscale
from csc_data.geometry import Grid
from csc_data.storage.bucket import RemoteFile
from csc_data.volumes.volume import LEVEL_TOLERANCE

MATCHING = 0.8
"""A level matches an annotation if its voxels have, along each axis, more than this share of its size (the official
rule); all levels coarser than the annotation match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLevel:
    """One scale level of a raw volume in a bucket: its grid and its chunks."""

    grid: Grid
    array: ChunkLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class RawVolume:
    """A raw volume in a bucket: its metadata files and its levels, finest first."""

    group: FileGroup
    levels: tuple[RawLevel, ...]


def open_raw(survey: Survey, bucket: str, key: str, dataset: str) -> RawVolume | Problem:
    """Read the metadata of a raw volume; a problem if it is not there."""
    store = survey.bucket(bucket)
    names, files = store.children(key)
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
    levels = []
    for place in parse_multiscale(store.url(key), attributes):
        if place.name not in names:
            continue  # the metadata names a level that was never uploaded
        # The dot comes before all digits, so these files are listed without the chunks.
        listed = store.files_below(f"{key}/{place.name}", begin=".z")
        group.files += [
            RemoteFile(f"{place.name}/{file.name}", file.size, file.modified, file.etag)
            for file in listed
            if "/" not in file.name
        ]
        metadata = survey.read_json(group, f"{place.name}/.zarray")
        if metadata is None:
            continue
        array = ChunkLayout.parse(f"{store.url(key)}/{place.name}", place.name, metadata)
        levels.append(RawLevel(grid=place.grid(array.shape), array=array))
    if not levels:
        raise UnreadableDataError(f"{store.url(key)}: none of the levels that its .zattrs names is there")
    levels.sort(key=lambda level: math.prod(level.grid.voxel_size))
    return RawVolume(group=group, levels=tuple(levels))


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


def raw_files(
    survey: Survey, volume: RawVolume, crops: Sequence[CropLabels]
) -> tuple[list[tuple[CropLabels, tuple[str, ...], list[RemoteFile]]], list[Problem]]:
    """List the chunks that crops of one data set need.

    Returns
    -------
    needs : list of (CropLabels, tuple of str, list of RemoteFile)
        For each crop, its levels and chunks, without those that a crop before it needs as well.
    outside : list of Problem
        Crops that lie outside of the raw.
    """
    options = survey.options
    boxes: dict[int, dict[str, Box]] = {}
    for number, crop in enumerate(crops):
        chosen = choose_levels(volume.levels, crop.region, all_resolutions=options.all_resolutions)
        boxes[number] = {level.array.name: level_box(level, crop.region, options.raw_padding) for level in chosen}
    arrays = {level.array.name: level.array for level in volume.levels}
    rows = _list_rows(survey, volume.group, arrays, [box for found in boxes.values() for box in found.items()])
    needs, outside = [], []
    seen: set[str] = set()
    for number, crop in enumerate(crops):
        files = []
        for name, box in boxes[number].items():
            for file in chunks_in(arrays[name], box, rows[name]):
                if file.name not in seen:
                    seen.add(file.name)
                    files.append(file)
        if not any(all(box) for box in boxes[number].values()):
            where = f"{crop.source.dataset}/{crop.source.name}"
            outside.append(Problem(where=where, what="lies outside of the raw volume", remedy="look at its metadata"))
        needs.append((crop, tuple(boxes[number]), files))
    return needs, outside


def _list_rows(
    survey: Survey, group: FileGroup, arrays: Mapping[str, ChunkLayout], boxes: Sequence[tuple[str, Box]]
) -> dict[str, dict[tuple[int, int], list[tuple[int, RemoteFile]]]]:
    """List what the boxes need; for each level the chunks by row, each with its index along x."""
    by_level: dict[str, list[Box]] = defaultdict(list)
    for name, box in boxes:
        by_level[name].append(box)
    questions = [
        (name, listing)
        for name, found in by_level.items()
        for listing in sorted(listings_for(arrays[name], found), key=lambda listing: (listing.folder, listing.begin))
    ]

    def ask(question: tuple[str, Listing]) -> list[tuple[int, int, int, RemoteFile]]:
        name, listing = question
        start = f"{listing.folder}/"
        found = []
        for file in group.bucket.files_below(f"{group.prefix}/{listing.folder}", begin=listing.begin):
            full = RemoteFile(start + file.name, file.size, file.modified, file.etag)
            index = arrays[name].index(full.name)
            if index is not None and file.size:
                found.append((*index, full))
        return found

    rows: dict[str, dict[tuple[int, int], list[tuple[int, RemoteFile]]]] = {name: {} for name in arrays}
    for (name, _), found in survey.ask(ask, questions).items():
        for z, y, x, file in found:
            rows[name].setdefault((z, y), []).append((x, file))
    return rows
