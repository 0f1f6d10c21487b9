"""Takes the fingerprint of a datasplit, crop by crop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import ClassTable, label_classes
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError
from csc_data.fingerprint.facts import ClassFacts, DatasetFacts, Fingerprint, Spread
from csc_data.fingerprint.objects import bulk_volume_nm3, diameters_nm
from csc_data.fingerprint.reading import ClassView, look_at, sample_grey, thickness_around
from csc_data.geometry import Triple
from csc_data.splits.annotations import AnnotatedCrop, open_crop
from csc_data.splits.split_file import SplitRow

DEFAULT_VOXELS = 1 << 22
_CROPS_FOR_THICKNESS = 6  # of each class, those with the most of it
_ENOUGH_WHOLE = 5  # objects, from which on those that are cut off do not count
_CRUMB = 8  # voxels: what is smaller is a slip of the annotator, and no network finds it
_SMALL = 10.0  # percent of the objects of a crop


@dataclass(slots=True)
class _ClassTally:
    """What was seen of a class so far."""

    views: list[ClassView] = field(default_factory=list)
    places: list[tuple[float, AnnotatedCrop, Triple]] = field(default_factory=list)

    def add(self, crop: AnnotatedCrop, view: ClassView) -> None:
        self.views.append(view)
        if view.place is not None:
            self.places.append((view.present * float(np.prod(view.voxel_size)), crop, view.place))


def take_fingerprint(
    rows: Sequence[SplitRow],
    classes: Sequence[str] | None = None,
    *,
    most_voxels: int = DEFAULT_VOXELS,
    progress: Callable[[int, int], None] | None = None,
    table: ClassTable | None = None,
) -> Fingerprint:
    """Look at the crops of a datasplit that train.

    Parameters
    ----------
    rows : sequence of SplitRow
    classes : sequence of str, optional
        The classes to look at; by default all that are annotated in crops that train.
    most_voxels : int
        Voxels of a crop that are held at once: larger ones are looked at at a coarser level. Memory is some 20 bytes
        a voxel.
    progress : callable, optional
        Takes (finished, all) crops.
    table : ClassTable, optional
        What is known of classes; the challenge's by default.

    Raises
    ------
    MissingDataError
        If no crop trains, or a volume is not there.
    ProblemsError
        With each class that is annotated in no crop that trains.
    InvalidArgumentError
        If less than one voxel may be held.
    UnreadableDataError
        If a volume cannot be read.
    """
    if most_voxels < 1:
        raise InvalidArgumentError(f"most_voxels must be at least 1, got {most_voxels}")
    training = [row for row in rows if row.usage == "train"]
    if not training:
        raise MissingDataError("the datasplit has no crop that trains; `csc make-datasplit` writes one that has")
    table = label_classes() if table is None else table
    names = _annotated(training, table) if classes is None else tuple(dict.fromkeys(classes))
    tallies = {name: _ClassTally() for name in names}
    crops: dict[str, list[AnnotatedCrop]] = defaultdict(list)
    greys: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    for number, row in enumerate(training, start=1):
        crop = open_crop(row, names, table)
        if crop is not None:
            crops[row.dataset].append(crop)
            greys[row.dataset].append(sample_grey(crop).reshape(-1))
            for name in crop.labels:
                tallies[name].add(crop, look_at(crop, name, most_voxels))
        if progress is not None:
            progress(number, len(training))
    if unknown := [name for name, tally in tallies.items() if not tally.views]:
        remedy = "leave it out, or choose other crops by `csc make-datasplit`"
        what = "nobody annotated it in a crop that trains"
        raise ProblemsError("classes", [Problem(where=name, what=what, remedy=remedy) for name in unknown])
    return Fingerprint(
        classes={name: _class_facts(name, tally, instance=name in table.instances) for name, tally in tallies.items()},
        datasets=tuple(_dataset_facts(name, found, np.concatenate(greys[name])) for name, found in crops.items()),
        validation_crops=len({row.labels for row in rows if row.usage == "validate"}),
        crop_extent_nm=Spread.of([min(crop.bounds.extent) for found in crops.values() for crop in found]),
        looked_at=_describe(len(training), tallies),
        table=table,
    )


def _annotated(rows: Sequence[SplitRow], table: ClassTable) -> tuple[str, ...]:
    """Return the classes of the rows, those of the table first, in its order."""
    named = dict.fromkeys(name for row in rows for name in row.classes)
    return tuple(dict.fromkeys([*(name for name in table if name in named), *named]))


def _class_facts(name: str, tally: _ClassTally, *, instance: bool) -> ClassFacts:
    sizes = [float(np.prod(view.voxel_size)) for view in tally.views]
    volumes = np.concatenate([view.objects.volume_nm3 for view in tally.views])
    is_cut = np.concatenate([view.objects.is_cut for view in tally.views])
    whole = volumes[~is_cut] if np.count_nonzero(~is_cut) >= _ENOUGH_WHOLE else volumes
    most = sorted(tally.places, key=lambda place: -place[0])[:_CROPS_FOR_THICKNESS]
    found = [thickness_around(crop, name, place) for _, crop, place in most]
    thicknesses = [value for value in found if value is not None]
    return ClassFacts(
        name=name,
        instance=instance,
        crops=len(tally.views),
        crops_present=len(tally.places),
        known_nm3=sum(view.known * size for view, size in zip(tally.views, sizes, strict=True)),
        present_nm3=sum(view.present * size for view, size in zip(tally.views, sizes, strict=True)),
        objects=len(volumes),
        diameter_nm=Spread.of(diameters_nm(whole).tolist()) if len(whole) else None,
        bulk_nm=float(diameters_nm(np.array(bulk_volume_nm3(volumes)))) if len(volumes) else None,
        thickness_nm=float(np.median(thicknesses)) if thicknesses else None,
        small_nm=min((size for view in tally.views for size in _small_nm(view)), default=None),
    )


def _small_nm(view: ClassView) -> Iterator[float]:
    """Yield the diameter that small objects of a crop stay below, if it holds enough whole ones."""
    objects, crumb = view.objects, _CRUMB * float(np.prod(view.voxel_size))
    whole = objects.volume_nm3[~objects.is_cut & (objects.volume_nm3 >= crumb)]
    if len(whole) >= _ENOUGH_WHOLE:
        yield float(np.percentile(diameters_nm(whole), _SMALL))


def _dataset_facts(name: str, crops: Sequence[AnnotatedCrop], grey: npt.NDArray[Any]) -> DatasetFacts:
    by_size: dict[Triple, float] = defaultdict(float)
    for crop in crops:
        labels = min((v.levels[0].grid.voxel_size for vs in crop.labels.values() for v in vs), key=np.prod)
        by_size[labels] += float(np.prod(crop.bounds.extent))
    return DatasetFacts(
        name=name,
        crops=len(crops),
        annotated_nm3=sum(by_size.values()),
        raw_voxel_size=crops[0].raw.levels[0].grid.voxel_size,
        label_voxel_size=max(by_size, key=lambda size: by_size[size]),
        grey=Spread.of(grey.tolist()),
    )


def _describe(crops: int, tallies: Mapping[str, _ClassTally]) -> str:
    coarsest = max((max(view.voxel_size) for tally in tallies.values() for view in tally.views), default=0.0)
    return (
        f"{crops} crops that train, each whole at its finest level that is small enough (the coarsest seen has "
        f"{coarsest:g} nm); thickness in windows of the finest level, {_CROPS_FOR_THICKNESS} for each class"
    )
