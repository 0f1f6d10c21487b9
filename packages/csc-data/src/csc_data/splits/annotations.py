"""An annotated crop: its raw, and for every class what is known there.

Voxels get one of three codes: absent (0), present (1), unknown (255). Unknown is everything outside the annotated
box, classes that nobody annotated in the crop, and values that the annotation's own metadata calls unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from csc_data.blocks import check_finished
from csc_data.challenge import ClassTable, label_classes
from csc_data.errors import MissingDataError
from csc_data.geometry import Roi
from csc_data.splits.split_file import SplitRow
from csc_data.storage.paths import join
from csc_data.volumes import Level, Volume, open_volume
from csc_data.volumes.annotation_values import PRESENT, Codes, Encoding, read_encoding

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedArray:
    """A stored annotation that gives codes when it is sliced; nothing is read before."""

    array: Any
    encoding: Encoding

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Data type of the codes."""
        return np.dtype(np.uint8)

    def __getitem__(self, box: Any) -> Codes:
        return self.encoding.encode(np.asarray(self.array[box]))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedCrop:
    """One crop of a datasplit, opened.

    Attributes
    ----------
    name : str
        Data set and crop, for messages.
    raw : Volume
    labels : mapping
        Class name to the volumes of codes whose union it is: one where the class has an array of its own, one per
        part where a group class is known through all of its parts. Classes that are not known here are not in it.
    bounds : Roi
        The annotated box in nm.
    table : ClassTable
        What is known of classes: which have instances, parts, and exclude each other.
    """

    name: str
    raw: Volume
    labels: Mapping[str, tuple[Volume, ...]]
    bounds: Roi
    table: ClassTable = field(default_factory=label_classes)


def open_crop(row: SplitRow, classes: Sequence[str], table: ClassTable | None = None) -> AnnotatedCrop | None:
    """Open what a row of a datasplit names.

    Parameters
    ----------
    row : SplitRow
        Only classes that it names count as annotated; the parts of a group class are also looked for beside them.
    classes : sequence of str
        The classes that are wanted.
    table : ClassTable, optional
        What is known of classes; the challenge's by default.

    Returns
    -------
    AnnotatedCrop or None
        None if none of the classes is known there.

    Raises
    ------
    MissingDataError
        If the raw volume or an array of a named class is not there, or the crop lies beside raw.
    UnreadableDataError
        If one cannot be read, or is half written.
    """
    check_finished(row.raw, *(join(row.labels, name) for name in row.classes))
    table = label_classes() if table is None else table
    labels: dict[str, tuple[Volume, ...]] = {}
    for name in classes:
        volumes = _open_class(row, name, table)
        if volumes:
            labels[name] = volumes
    if not labels:
        return None
    boxes = [volume.levels[0].grid.bounds for volumes in labels.values() for volume in volumes]
    bounds = Roi(
        (min(b.begin[0] for b in boxes), min(b.begin[1] for b in boxes), min(b.begin[2] for b in boxes)),
        (max(b.end[0] for b in boxes), max(b.end[1] for b in boxes), max(b.end[2] for b in boxes)),
    )
    name, raw = f"{row.dataset}/{row.crop}", open_volume(row.raw)
    there = raw.levels[0].grid.bounds
    if bounds.intersect(there).empty:
        raise MissingDataError(f"{name} at {bounds} lies beside its raw: {row.raw} is at {there}")
    if not there.contains(bounds, max(raw.levels[0].grid.voxel_size)):
        _log.warning(
            "%s at %s reaches beyond its raw, which is at %s: there its labels are unknown", name, bounds, there
        )
    return AnnotatedCrop(name=name, raw=raw, labels=labels, bounds=bounds, table=table)


def _open_class(row: SplitRow, name: str, table: ClassTable) -> tuple[Volume, ...]:
    if name in row.classes:
        return (_open_codes(join(row.labels, name)),)
    entry = table.get(name)
    if entry is None or not entry.parts:
        return ()
    names, left = [], set(entry.parts)
    # A smaller group that is annotated stands for its parts, the largest first.
    groups = [table[other] for other in row.classes if other in table and table[other].parts]
    for group in sorted(groups, key=lambda group: -len(group.parts)):
        if group.parts <= entry.parts and group.parts & left:
            names.append(group.name)
            left -= group.parts
    names += [part.name for part in table.values() if part.id in left]
    volumes = []
    for part_name in names:
        try:
            volumes.append(_open_codes(join(row.labels, part_name)))
        except MissingDataError:
            return ()
    return tuple(volumes)


def _open_codes(path: str) -> Volume:
    volume = open_volume(path)
    levels = []
    for level in volume.levels:
        encoding = read_encoding(dict(level.array.attrs)) or read_encoding(volume.attributes) or Encoding()
        levels.append(Level(name=level.name, grid=level.grid, array=EncodedArray(level.array, encoding)))
    return Volume(path=volume.path, levels=tuple(levels), attributes=volume.attributes)


def unite_codes(volumes: Sequence[Volume], read: Callable[[Volume], Codes]) -> Codes:
    """Read a class; of parts it is the union: present where one is, else unknown where one is.

    Examples
    --------
    >>> codes = {"mito_mem": np.array([1, 0, 0]), "mito_lum": np.array([0, 0, 2])}  # present, absent, unknown
    >>> unite_codes(list(codes), codes.get).tolist()
    [1, 0, 2]
    """
    merged = read(volumes[0])
    for volume in volumes[1:]:
        codes = read(volume)
        present = (merged == PRESENT) | (codes == PRESENT)
        merged = np.maximum(merged, codes)
        merged[present] = PRESENT
    return merged
