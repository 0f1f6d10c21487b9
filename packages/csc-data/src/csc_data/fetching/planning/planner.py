"""Making a plan: listing what crops need, and comparing it with what is there.

Questions that do not need each other's answers are asked at once, so a plan takes about six times the latency of the
bucket, and the pages of its longest listing.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, Problem
from csc_data.fetching.plan import CropPlan, FetchOptions, FetchPlan, FileGroup, Progress
from csc_data.fetching.planning.chunk_listing import ChunkLayout
from csc_data.fetching.planning.kept_listings import read_listing
from csc_data.fetching.planning.labels import LabelArray, LabelsFound, gather_labels, list_classes, read_labels
from csc_data.fetching.planning.raw import (
    Boxes,
    Chunks,
    Question,
    RawGroup,
    RawPlace,
    RawVolume,
    Rows,
    chunk_questions,
    crop_boxes,
    list_chunks,
    open_raw,
    raw_place,
    raw_volume,
    read_level,
    share_chunks,
)
from csc_data.fetching.planning.survey import GROUP_METADATA, Survey
from csc_data.fetching.sources import CropSource, KnownCrops, known_crops, select_sources
from csc_data.storage.bucket import RemoteFile
from csc_data.storage.concurrency import Pool, Stream


class Listener(Protocol):
    """Who wants to know of a plan while it is made."""

    def listed(self, group: FileGroup) -> None:
        """Take a group that is listed and compared with what is there."""

    def bounded(self, most_bytes: int) -> None:
        """Take the most that what is not listed yet can need on the disk."""


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
        Every file with its size, as the bucket lists it, or did within the last day.

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
    known, sources = choose_crops(config, options)
    with Pool(options.workers, stop or threading.Event()) as pool:
        return make_plan(Survey(config, options, pool, progress), known, sources)


def choose_crops(config: Config, options: FetchOptions) -> tuple[KnownCrops, tuple[CropSource, ...]]:
    """Return all crops, and those that options ask for.

    Examples
    --------
    >>> from csc_data import load_config
    >>> from csc_data.fetching import FetchOptions
    >>> _, chosen = choose_crops(load_config(data="nowhere", environ={}), FetchOptions(crops=["234"]))
    >>> [(source.dataset, source.name) for source in chosen]
    [('jrc_cos7-1a', 'crop234')]
    """
    known = known_crops(config)
    return known, select_sources(known.crops, options.crops, options.datasets)


def make_plan(
    survey: Survey, known: KnownCrops, sources: Sequence[CropSource], listener: Listener | None = None
) -> FetchPlan:
    """Plan within a run: from the listing that is kept, or from the bucket; see `plan_fetch`."""
    plan = read_listing(survey, sources, known.origin)
    if plan is not None:
        groups = list(plan.groups())
        for _ in survey.answers(survey.start(lambda number: survey.compare(groups[number]), range(len(groups)))):
            pass
        return plan
    planner = _Planner(survey, sources, listener)
    planner.ask_for_groups()
    found = planner.ask_for_arrays()
    crops = planner.ask_for_chunks(found)
    missing = (*found.missing, *planner.problems)
    if not any(crop.n_files for crop in crops):
        reasons = "; ".join(str(problem) for problem in [*missing, *found.left_out][:5])
        raise MissingDataError(f"there is nothing to fetch: {reasons}")
    return FetchPlan(
        root=survey.config.root,
        crops=crops,
        missing=missing,
        left_out=found.left_out,
        contents=survey.contents,
        origin=known.origin,
        md5_etags=survey.md5_etags,
        listed=time.time(),
    )


class _Planner:
    """Three rounds of questions, each about what the one before it found."""

    def __init__(self, survey: Survey, sources: Sequence[CropSource], listener: Listener | None) -> None:
        self.survey, self.sources, self.listener = survey, sources, listener
        self.names: dict[CropSource, list[str]] = {}
        self.raw: dict[RawPlace, RawGroup] = {}
        self.volumes: dict[RawPlace, RawVolume] = {}
        self.problems: list[Problem] = []
        self.above: dict[tuple[str, str, Path], FileGroup] = {}

    def ask_for_groups(self) -> None:
        """Ask which label arrays crops have, and for the multiscale groups of raw volumes."""
        survey = self.survey
        names = survey.start(lambda source: list_classes(survey, source), self.sources)
        raw = survey.start(lambda place: open_raw(survey, place), map(raw_place, self.sources))
        self.names.update(survey.answers(names))
        opened = dict(survey.answers(raw))
        for place in dict.fromkeys(map(raw_place, self.sources)):
            volume = opened[place]
            if isinstance(volume, Problem):
                self.problems.append(volume)
            else:
                self.raw[place] = volume

    def ask_for_arrays(self) -> LabelsFound:
        """List the label arrays, and read where they and the levels of raw are."""
        survey, classes = self.survey, self.survey.options.classes
        wanted = [
            (source, name)
            for source in self.sources
            for name in self.names[source]
            if classes is None or name in classes
        ]
        arrays = survey.start(lambda pair: read_labels(survey, *pair), wanted)
        places = [(place, level) for place, raw in self.raw.items() for level in raw.places]
        levels = survey.start(lambda pair: read_level(survey, self.raw[pair[0]], pair[1]), places)
        found: dict[tuple[CropSource, str], LabelArray] = {}
        for pair, array in survey.answers(arrays):
            found[pair] = array
            self._tell(array.group)
        read = dict(survey.answers(levels))
        for place, raw in self.raw.items():
            self.volumes[place] = raw_volume(raw, [read[place, level] for level in raw.places])
        return gather_labels(self.sources, self.names, found)

    def ask_for_chunks(self, found: LabelsFound) -> tuple[CropPlan, ...]:
        """List the chunks of raw around crops and the metadata above them, and put all together, crop by crop."""
        survey = self.survey
        boxes: dict[RawPlace, dict[CropSource, Boxes]] = {place: {} for place in self.volumes}
        for crop in found.crops:
            place = raw_place(crop.source)
            if place in self.volumes:
                boxes[place][crop.source] = crop_boxes(self.volumes[place], crop.region, survey.options)
        needed = {source: own for found_boxes in boxes.values() for source, own in found_boxes.items()}
        self._note_those_outside(needed)
        questions = [question for place, own in boxes.items() for question in chunk_questions(place, own.values())]
        chunks = survey.start(lambda question: list_chunks(self.volumes[question[0]], *question[1:]), questions)
        leaves = [group for crop in found.crops for group in crop.groups]
        leaves += [volume.group for volume in self.volumes.values()]
        chains = {(leaf.prefix, leaf.folder): _groups_above(leaf) for leaf in leaves}
        above = survey.start(
            lambda place: _metadata_at(survey, *place),
            [(group.bucket.name, group.prefix) for chain in chains.values() for group in chain],
        )
        if self.listener:
            self.listener.bounded(sum(array.most_bytes(box) for own in needed.values() for array, box in own))
        shares = self._gather_chunks(boxes, Counter(place for place, _, _ in questions), chunks)
        metadata = dict(survey.answers(above))
        for group in itertools.chain.from_iterable(chains.values()):
            group.files = metadata[group.bucket.name, group.prefix]
        return self._crop_plans(found, needed, shares, chains)

    def _note_those_outside(self, needed: Mapping[CropSource, Boxes]) -> None:
        for source, own in needed.items():
            if not any(all(box) for _, box in own):
                where = f"{source.dataset}/{source.name}"
                what = "lies outside of the raw volume"
                self.problems.append(Problem(where=where, what=what, remedy="look at its metadata"))

    def _gather_chunks(
        self,
        boxes: Mapping[RawPlace, Mapping[CropSource, Boxes]],
        waiting: Counter[RawPlace],
        chunks: Stream[Question, Chunks],
    ) -> dict[CropSource, FileGroup]:
        """Give each chunk to the first crop that needs it, as soon as all of its volume are listed."""
        rows: dict[RawPlace, dict[ChunkLayout, Rows]] = {place: {} for place in boxes}
        shares: dict[CropSource, FileGroup] = {}
        compared = []
        for (place, array, _), files in self.survey.answers(chunks):
            by_row = rows[place].setdefault(array, {})
            for z, y, x, file in files:
                by_row.setdefault((z, y), []).append((x, file))
            waiting[place] -= 1
            if waiting[place]:
                continue
            volume = self.volumes[place].group
            for source, own in zip(boxes[place], share_chunks(boxes[place].values(), rows.pop(place)), strict=True):
                shares[source] = replace(volume, files=own, todo=[])
            compared.append(self.survey.start(lambda source: self.survey.compare(shares[source]), boxes[place]))
        for source, _ in itertools.chain.from_iterable(map(self.survey.answers, compared)):
            self._tell(shares[source])
        return shares

    def _compare(self, group: FileGroup) -> None:
        self.survey.compare(group)
        self._tell(group)

    def _tell(self, group: FileGroup) -> None:
        if self.listener:
            self.listener.listed(group)

    def _crop_plans(
        self,
        found: LabelsFound,
        needed: Mapping[CropSource, Boxes],
        shares: Mapping[CropSource, FileGroup],
        chains: Mapping[tuple[str, Path], Sequence[FileGroup]],
    ) -> tuple[CropPlan, ...]:
        plans = []
        taken: set[tuple[str, Path]] = set()  # metadata that crops share comes with the first of them
        for crop in found.crops:
            volume = self.volumes.get(raw_place(crop.source))
            leaves = [*crop.groups, *([volume.group] if volume else [])]
            own = []
            for group in [*(group for leaf in leaves for group in chains[leaf.prefix, leaf.folder]), *leaves]:
                if (group.prefix, group.folder) not in taken:
                    taken.add((group.prefix, group.folder))
                    own.append(group)
                    if not group.whole:  # label arrays were compared when they were listed
                        self._compare(group)
            if crop.source in shares:
                own.append(shares[crop.source])
            boxes = needed.get(crop.source, ())
            plans.append(CropPlan(source=crop.source, boxes=boxes, classes=crop.classes, groups=tuple(own)))
        return tuple(plans)


def _metadata_at(survey: Survey, bucket: str, prefix: str) -> list[RemoteFile]:
    return [file for file in survey.bucket(bucket).children(prefix)[1] if file.name in GROUP_METADATA]


def _groups_above(leaf: FileGroup) -> list[FileGroup]:
    """Return the groups above a group, from the ``*.zarr`` folder on, as long as bucket and disk name them alike.

    With path templates of one's own they have other names, and metadata of other groups would not fit.
    """
    chain: list[FileGroup] = []
    key, folder = PurePosixPath(leaf.prefix), leaf.folder
    while key.suffix != ".zarr" and folder.suffix != ".zarr" and key.parent.name == folder.parent.name != "":
        key, folder = key.parent, folder.parent
        chain.append(FileGroup(bucket=leaf.bucket, prefix=str(key), folder=folder, files=[]))
    return chain[::-1]
