"""Targets: what is known of each class at the voxels of a lattice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from csc_data.challenge import get_class_relations
from csc_data.encoding import ABSENT, PRESENT, UNKNOWN, Codes
from csc_data.geometry import Grid
from csc_data.loader.annotations import AnnotatedCrop
from csc_data.volumes import Volume

_VALUES = np.full(256, np.nan, dtype=np.float32)
_VALUES[ABSENT], _VALUES[PRESENT] = 0.0, 1.0


def as_target(codes: Codes) -> npt.NDArray[np.float32]:
    """Turn codes into target values: 1 present, 0 absent, NaN unknown."""
    return _VALUES[codes]


def exclusions(classes: Sequence[str], witnesses: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return for each annotated class the positions in ``classes`` of those that it excludes.

    Raises
    ------
    UnknownClassError
        If a class is not one of the challenge: nobody knows what it excludes.
    """
    relations = get_class_relations(dict.fromkeys([*classes, *witnesses]))
    return {name: tuple(i for i, other in enumerate(classes) if other in relations[name]) for name in witnesses}


def read_codes(
    crop: AnnotatedCrop,
    classes: Sequence[str],
    grid: Grid,
    *,
    excludes: dict[str, tuple[int, ...]] | None = None,
    hold: Callable[[Volume], Volume] | None = None,
) -> Codes:
    """Return what is known of each class at the voxel centres of a lattice.

    Parameters
    ----------
    crop : AnnotatedCrop
    classes : sequence of str
    grid : Grid
        May reach beyond the annotated box, where all is unknown.
    excludes : dict, optional
        From `exclusions`: a voxel that is present in a class is made absent, where unknown, in those it excludes.
    hold : callable, optional
        Gives the volume to read from instead, for example one that lies in memory.

    Returns
    -------
    ndarray
        Codes, uint8, shape (C, z, y, x).
    """
    codes = np.full((len(classes), *grid.shape), UNKNOWN, dtype=np.uint8)
    for channel, name in enumerate(classes):
        if name in crop.labels:
            codes[channel] = _read_class(crop.labels[name], grid, hold)
    for name, channels in (excludes or {}).items():
        if name not in crop.labels:
            continue
        unknown = [channel for channel in channels if (codes[channel] == UNKNOWN).any()]
        if not unknown:
            continue
        known = codes[classes.index(name)] if name in classes else _read_class(crop.labels[name], grid, hold)
        present = known == PRESENT
        for channel in unknown:
            codes[channel][present & (codes[channel] == UNKNOWN)] = ABSENT
    return codes


def _read_class(volumes: Sequence[Volume], grid: Grid, hold: Callable[[Volume], Volume] | None) -> Codes:
    """Read a class; of parts it is the union: present where one is, else unknown where one is."""
    merged: Codes | None = None
    for volume in volumes:
        codes: Codes = (hold(volume) if hold else volume).read(grid, order=0, fill=UNKNOWN)
        if merged is None:
            merged = codes
            continue
        present = (merged == PRESENT) | (codes == PRESENT)
        merged = np.maximum(merged, codes)
        merged[present] = PRESENT
    assert merged is not None
    return merged
