"""Names of arrays that lie beside those of classes: distances, boundaries, affinities, whatever networks give."""

from __future__ import annotations

import re

from csc_data.volumes.affinities import AFFINITY

_NAME = re.compile(rf"(.+?)(?:(?:{AFFINITY}|_distance|_boundary)(?:_of_.+)?|_of_.+)")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


def distance_name(class_name: str) -> str:
    """Return the name of the distances to the surface of a class.

    Examples
    --------
    >>> distance_name("mito")
    'mito_distance'
    """
    return f"{class_name}_distance"


def boundary_name(class_name: str) -> str:
    """Return the name of the boundaries of a class.

    Examples
    --------
    >>> boundary_name("mito")
    'mito_boundary'
    """
    return f"{class_name}_boundary"


def name_of_output(name: str, output: str) -> str:
    """Return the name of what several outputs of a network give, for one of them.

    >>> name_of_output("mito", "rough")
    'mito_of_rough'
    """
    return f"{name}_of_{_NOT_IN_NAMES.sub('-', output)}"


def class_of_channel(name: str) -> str | None:
    """Return the class beside which an array of this name lies; None for a class itself.

    >>> [class_of_channel(name) for name in ("mito_affinity_-1_0_0", "mito_distance", "mito_of_rough")]
    ['mito', 'mito', 'mito']
    >>> class_of_channel("mito_mem")
    """
    match = _NAME.fullmatch(name)
    return match[1] if match else None
