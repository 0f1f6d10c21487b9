"""Affinities, whether a voxel and the one at an offset belong together: offsets, and what predicted ones are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from csc_data.errors import Problem

Offset = tuple[int, int, int]

NEAREST_NEIGHBOURS: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

AFFINITY = r"_affinity_-?\d+_-?\d+_-?\d+"
"""How the names of affinities end, as a regular expression."""

_NAME = re.compile(rf"(.+){AFFINITY}(?:_of_.+)?")


def offset_problems(offsets: tuple[Offset, ...], _: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a list of offsets.

    Examples
    --------
    >>> [str(problem) for problem in offset_problems(((1, 0, 0), (0, 0, 0)), {})]
    ['(0, 0, 0) leads to the voxel itself (remove it)']
    """
    if (0, 0, 0) in offsets:
        yield Problem(where="", what="(0, 0, 0) leads to the voxel itself", remedy="remove it")
    for offset in sorted({offset for offset in offsets if offsets.count(offset) > 1}):
        yield Problem(where="", what=f"{offset} is given twice", remedy="give it once")


def affinity_name(class_name: str, offset: Offset) -> str:
    """Return the name of the affinities of a class between each voxel and the one at an offset.

    >>> affinity_name("mito", (-1, 0, 0))
    'mito_affinity_-1_0_0'
    """
    z, y, x = offset
    return f"{class_name}_affinity_{z}_{y}_{x}"


def class_of_affinities(name: str) -> str | None:
    """Return the class whose affinities have this name; None for any other name.

    >>> class_of_affinities("mito_affinity_-1_0_0")
    'mito'
    >>> class_of_affinities("mito_mem")
    """
    match = _NAME.fullmatch(name)
    return match[1] if match else None
