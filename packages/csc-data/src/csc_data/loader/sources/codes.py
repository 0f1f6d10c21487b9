"""What is known of each class, from the annotations of a crop: unions of parts, and what excludes what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from csc_data.challenge import ClassTable, label_classes
from csc_data.geometry import Shape
from csc_data.splits.annotations import AnnotatedCrop, unite_codes
from csc_data.volumes import Volume
from csc_data.volumes.annotation_values import ABSENT, PRESENT, UNKNOWN, Codes


def exclusions(
    classes: Sequence[str], witnesses: Sequence[str], table: ClassTable | None = None
) -> dict[str, tuple[int, ...]]:
    """Return for each annotated class the positions in ``classes`` of those that it excludes.

    Raises
    ------
    UnknownClassError
        If a class is not in the table, by default the challenge's: nobody knows what it excludes.

    Examples
    --------
    >>> exclusions(["nuc", "mito", "er"], ["mito"])
    {'mito': (0, 2)}
    """
    relations = (label_classes() if table is None else table).relations(dict.fromkeys([*classes, *witnesses]))
    return {name: tuple(i for i, other in enumerate(classes) if other in relations[name]) for name in witnesses}


def combine_codes(
    crop: AnnotatedCrop,
    classes: Sequence[str],
    shape: Shape,
    read: Callable[[Volume], Codes],
    excludes: Mapping[str, tuple[int, ...]],
) -> Codes:
    """Return the codes of classes, shape (C, z, y, x), from those of the volumes that ``read`` gives.

    A class with parts is their union; what is present in a class is absent, where unknown, in those it excludes.

    Examples
    --------
    >>> from csc_data import Grid, Roi, Volume
    >>> crop = AnnotatedCrop(
    ...     name="a/crop1", raw=Volume(path="raw", levels=(), attributes={}),
    ...     labels={"mito": (Volume(path="mito", levels=(), attributes={}),)}, bounds=Roi([0, 0, 0], [16, 8, 8]),
    ... )
    >>> codes = combine_codes(
    ...     crop, ("mito", "nuc"), (2, 1, 1), lambda volume: np.array([[[1]], [[0]]], np.uint8), {"mito": (1,)}
    ... )
    >>> codes.reshape(2, 2).tolist()  # where there is a mitochondrion there is no nucleus; elsewhere that is unknown
    [[1, 0], [0, 255]]
    """
    codes = np.full((len(classes), *shape), UNKNOWN, dtype=np.uint8)
    for channel, name in enumerate(classes):
        if name in crop.labels:
            codes[channel] = unite_codes(crop.labels[name], read)
    # Last, when all annotations are read: exclusion only fills in what they leave unknown.
    for name, channels in excludes.items():
        if name not in crop.labels:
            continue
        unknown = [channel for channel in channels if (codes[channel] == UNKNOWN).any()]
        if not unknown:
            continue
        present = (codes[classes.index(name)] if name in classes else unite_codes(crop.labels[name], read)) == PRESENT
        for channel in unknown:
            codes[channel][present & (codes[channel] == UNKNOWN)] = ABSENT
    return codes
