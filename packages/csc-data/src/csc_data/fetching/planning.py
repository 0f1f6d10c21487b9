"""Making a plan: listing what crops need, and comparing it with what is there."""

from __future__ import annotations

import threading
from pathlib import Path, PurePosixPath

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, Problem
from csc_data.fetching.labels import CropLabels, LabelsFound, find_labels
from csc_data.fetching.plan import CropPlan, FetchOptions, FetchPlan, FileGroup, Progress
from csc_data.fetching.presence import compare_group
from csc_data.fetching.raw import RawVolume, open_raw, raw_files
from csc_data.fetching.sources import known_crops, select_sources
from csc_data.fetching.survey import GROUP_METADATA, Survey


def plan_fetch(
    config: Config,
    options: FetchOptions,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> FetchPlan:
    """Find out what is to be fetched; nothing is written.

    Parameters
    ----------
    config : Config
        Data folder, path templates, bucket and endpoint.
    options : FetchOptions
    progress : callable, optional
        Called with a `FetchProgress`.
    stop : threading.Event, optional
        Ends the work when it is set.

    Returns
    -------
    FetchPlan
        Every file with its size, as the bucket lists it.

    Raises
    ------
    ProblemsError
        If a crop, data set or class does not exist, or a manifest is damaged.
    MissingDataError
        If nothing of it is in the bucket.
    UnreadableDataError
        If the bucket cannot be reached.
    FetchStopped
        If ``stop`` was set.
    """
    known = known_crops(config)
    sources = select_sources(known.crops, options.crops, options.datasets)
    survey = Survey(config, options, progress, stop or threading.Event())
    found = find_labels(survey, sources)
    needs, missing = _find_raw(survey, found.crops)
    crops = _crop_plans(survey, found, needs)
    missing = [*found.missing, *missing]
    if not any(crop.n_files for crop in crops):
        reasons = "; ".join(str(problem) for problem in [*missing, *found.left_out][:5])
        raise MissingDataError(f"there is nothing to fetch: {reasons}")
    overwrite = options.access_mode == "overwrite"
    groups = [group for crop in crops for group in crop.groups]
    survey.ask(lambda n: compare_group(groups[n], overwrite=overwrite, checksums=options.checksums), range(len(groups)))
    return FetchPlan(
        root=config.root,
        crops=crops,
        missing=tuple(missing),
        left_out=found.left_out,
        contents=survey.contents,
        nodes=tuple(dict.fromkeys(group.folder for group in groups)),
        origin=known.origin,
        # Nobody says whether an ETag is an MD5 sum. Where some are, those that differ show damage.
        md5_etags=survey.md5_matches > survey.md5_differs,
    )


Needs = dict[int, tuple[tuple[str, ...], FileGroup, FileGroup]]
"""Crop id to the levels of raw, the volume's metadata, and the chunks."""


def _find_raw(survey: Survey, crops: tuple[CropLabels, ...]) -> tuple[Needs, list[Problem]]:
    volumes = list(dict.fromkeys((crop.source.bucket, crop.source.raw, crop.source.dataset) for crop in crops))

    def open_one(place: tuple[str, str, str]) -> RawVolume | Problem:
        try:
            return open_raw(survey, *place)
        except MissingDataError as error:
            return Problem(where=place[2], what=str(error))

    opened = survey.ask(open_one, volumes)
    needs: Needs = {}
    missing = []
    for place in volumes:
        volume = opened[place]
        if isinstance(volume, Problem):
            missing.append(volume)
            continue
        own = [crop for crop in crops if (crop.source.bucket, crop.source.raw, crop.source.dataset) == place]
        found, outside = raw_files(survey, volume, own)
        missing += outside
        for crop, levels, files in found:
            chunks = FileGroup(
                bucket=volume.group.bucket, prefix=volume.group.prefix, folder=volume.group.folder, files=files
            )
            needs[crop.source.id] = (levels, volume.group, chunks)
    return needs, missing


def _crop_plans(survey: Survey, found: LabelsFound, needs: Needs) -> tuple[CropPlan, ...]:
    above = _groups_above(survey, found, needs)
    plans = []
    taken: set[tuple[str, Path]] = set()  # metadata that crops share comes with the first of them
    for crop in found.crops:
        levels, metadata, chunks = needs.get(crop.source.id, ((), None, None))
        groups = [*crop.groups, *([metadata] if metadata else []), *([chunks] if chunks else [])]
        shared = [group for leaf in groups for group in above[leaf.prefix, leaf.folder]]
        own = []
        for group in [*shared, *groups]:
            if group is chunks:
                own.append(group)
            elif (group.prefix, group.folder) not in taken:
                taken.add((group.prefix, group.folder))
                own.append(group)
        plans.append(CropPlan(source=crop.source, levels=levels, classes=crop.classes, groups=tuple(own)))
    return tuple(plans)


def _groups_above(survey: Survey, found: LabelsFound, needs: Needs) -> dict[tuple[str, Path], list[FileGroup]]:
    """Find the metadata of the groups above each label array and raw volume, up to the ``*.zarr`` folder."""
    leaves = [group for crop in found.crops for group in crop.groups]
    leaves += [group for _, metadata, chunks in needs.values() for group in (metadata, chunks)]
    chains = {(leaf.prefix, leaf.folder): (leaf.bucket, _chain(leaf.prefix, leaf.folder)) for leaf in leaves}
    places = {(bucket.name, prefix) for bucket, chain in chains.values() for prefix, _ in chain}
    listed = survey.ask(lambda place: survey.bucket(place[0]).children(place[1])[1], sorted(places))
    groups: dict[tuple[str, str, Path], FileGroup] = {}
    for bucket, chain in chains.values():
        for prefix, folder in chain:
            files = [file for file in listed[bucket.name, prefix] if file.name in GROUP_METADATA]
            group = FileGroup(bucket=bucket, prefix=prefix, folder=folder, files=files)
            groups.setdefault((bucket.name, prefix, folder), group)
    return {
        leaf: [groups[bucket.name, prefix, folder] for prefix, folder in chain]
        for leaf, (bucket, chain) in chains.items()
    }


def _chain(prefix: str, folder: Path) -> list[tuple[str, Path]]:
    """Return the groups above a group, in the bucket and on disk, as long as both have the same names.

    With path templates of one's own they have not, and metadata of other groups would not fit.
    """
    chain: list[tuple[str, Path]] = []
    key = PurePosixPath(prefix)
    while key.suffix != ".zarr" and folder.suffix != ".zarr" and key.parent.name == folder.parent.name != "":
        key, folder = key.parent, folder.parent
        chain.append((str(key), folder))
    return chain[::-1]
