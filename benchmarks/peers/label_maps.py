"""Overlapping classes as one integer map, as nnU-Net's region-based training takes them.

Each combination of classes that occurs is a label, and a class is the region of all labels that hold it. What nobody
annotated is either background, or all classes of the voxel are ignored: nnU-Net's ignore label knows no classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class

Unannotated = Literal["ignore", "background"]
Labels = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionMaps:
    """Label maps and what their labels mean.

    Attributes
    ----------
    maps : tuple of ndarray of int16
        One for each crop, z, y, x; 0 is background.
    regions : dict of str to list of int
        The labels that a class is made of.
    ignore : int or None
        The label of what counts in no loss.
    """

    maps: tuple[Labels, ...]
    regions: dict[str, list[int]]
    ignore: int | None


def make_region_maps(
    crops: Sequence[Mapping[str, npt.NDArray[Any]]],
    classes: Sequence[str],
    unannotated: Unannotated,
    atoms: frozenset[int] = frozenset(),
) -> RegionMaps:
    """Join the masks of crops.

    Parameters
    ----------
    crops : sequence of mapping
        The mask of each class that is annotated in the crop, z, y, x.
    classes : sequence of str
        All classes.
    unannotated : {"ignore", "background"}
        What becomes of voxels of which nobody said whether a class is there.
    atoms : frozenset of int
        The atomic classes that there are, for "ignore": what they leave no choice about is not ignored.
    """
    coded = [_code(masks, classes) for masks in crops]
    if unannotated == "ignore":
        coded = [_complete(codes, list(masks), classes, atoms) for codes, masks in zip(coded, crops, strict=True)]
    found = sorted({int(code) for codes in coded for code in np.unique(codes)} - {0, -1})
    label_of = {0: 0, **{code: number for number, code in enumerate(found, start=1)}}
    regions = {name: [label_of[code] for code in found if code >> bit & 1] for bit, name in enumerate(classes)}
    # nnU-Net takes no region without labels; it gets one that never occurs.
    spare = len(found) + 1
    regions = {name: labels or [spare] for name, labels in regions.items()}
    ignore = 1 + max(max(labels) for labels in regions.values()) if unannotated == "ignore" else None
    return RegionMaps(
        maps=tuple(_translate(codes, {**label_of, -1: ignore or 0}) for codes in coded), regions=regions, ignore=ignore
    )


def _code(masks: Mapping[str, npt.NDArray[Any]], classes: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return a number for each voxel whose bits are the classes there."""
    bits = [(np.asarray(masks[name]) > 0).astype(np.int32) << bit for bit, name in enumerate(classes) if name in masks]
    return np.sum(bits, axis=0, dtype=np.int32)


def _complete(
    codes: npt.NDArray[np.int32], known: Sequence[str], classes: Sequence[str], atoms: frozenset[int]
) -> npt.NDArray[np.int32]:
    """Add the classes that follow from those known, and put -1 where one of the others may be there or not."""
    return _translate(
        codes, {int(code): _completed(int(code), known, classes, atoms) for code in np.unique(codes)}, np.int32
    )


def _completed(code: int, known: Sequence[str], classes: Sequence[str], atoms: frozenset[int]) -> int:
    possible = set(atoms)
    for bit, name in enumerate(classes):
        if name in known:
            possible = possible & get_class(name).atoms if code >> bit & 1 else possible - get_class(name).atoms
    for bit, name in enumerate(classes):
        if name not in known and possible & get_class(name).atoms:
            if possible - get_class(name).atoms:
                return -1
            code |= 1 << bit
    return code


def _translate(codes: npt.NDArray[Any], table: Mapping[int, int], dtype: Any = np.int16) -> npt.NDArray[Any]:
    values, places = np.unique(codes, return_inverse=True)
    return np.array([table[int(value)] for value in values], dtype)[places].reshape(codes.shape)
