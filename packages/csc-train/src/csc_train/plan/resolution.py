"""Which voxel size each class asks for, and which classes can be learnt together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from csc_data.fingerprint import ClassFacts, Fingerprint
from csc_data.geometry import Triple

VOXELS_ACROSS = 20
"""Voxels along an object's diameter: half a voxel of error at the surface is then a seventh of its volume."""
VOXELS_THROUGH = 2
"""Voxels through a membrane or tube: with fewer it has holes."""

_TOGETHER = 2.0  # times as coarse as the finest class of a group
_LEAST_SECONDS = 600.0  # of training, for a group of its own
_THICK_SECTIONS = 1.5  # times as thick as voxels are wide: then they are not made cubes


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Classes that one network learns.

    Attributes
    ----------
    classes : tuple of ClassFacts
    voxel_size : tuple of float
        nm, z, y, x.
    reason : str
        Why this voxel size.
    """

    classes: tuple[ClassFacts, ...]
    voxel_size: Triple
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(facts.name for facts in self.classes)


def asked_nm(facts: ClassFacts) -> tuple[float, str]:
    """Return the coarsest voxel size, in nm, at which a class can be told, and why; infinite if nothing is known.

    Parameters
    ----------
    facts : ClassFacts
    """
    wishes = [(math.inf, "nothing was measured")]
    if facts.thickness_nm is not None:
        reason = f"{facts.name} is {facts.thickness_nm:.0f} nm thick, {VOXELS_THROUGH} voxels through it"
        wishes.append((facts.thickness_nm / VOXELS_THROUGH, reason))
    if facts.bulk_nm is not None:
        reason = f"half of {facts.name} is in objects up to {facts.bulk_nm:.0f} nm, {VOXELS_ACROSS} voxels across them"
        wishes.append((facts.bulk_nm / VOXELS_ACROSS, reason))
    return min(wishes)


def divide_classes(fingerprint: Fingerprint, seconds: float) -> tuple[Group, ...]:
    """Divide classes into groups that want about the same voxel size, the finest first.

    Voxel sizes are those of most of the data times powers of two, as scale levels have them, and never finer. A
    group needs ten minutes of training; with less time neighbouring groups are joined.

    Parameters
    ----------
    fingerprint : Fingerprint
    seconds : float
        The time there is for all groups.
    """
    native = fingerprint.native_voxel_size
    base = min(native)
    found = sorted(
        ((_on_ladder(asked_nm(facts)[0], base), facts) for facts in fingerprint.classes.values()),
        key=lambda entry: entry[0],
    )
    groups: list[list[tuple[float, ClassFacts]]] = []
    for size, facts in found:
        if groups and size <= _TOGETHER * groups[-1][0][0]:
            groups[-1].append((size, facts))
        else:
            groups.append([(size, facts)])
    while len(groups) > max(1, int(seconds // _LEAST_SECONDS)):
        ratios = [after[0][0] / before[0][0] for before, after in itertools.pairwise(groups)]
        nearest = ratios.index(min(ratios))
        groups[nearest] += groups.pop(nearest + 1)
    order = {name: number for number, name in enumerate(fingerprint.classes)}
    return tuple(_make_group(group[0][0], [facts for _, facts in group], native, order) for group in groups)


def _on_ladder(asked: float, base: float) -> float:
    """Return the largest power of two times the base that is not above what is asked, at least the base."""
    if math.isinf(asked):
        return base
    return base * float(2 ** max(0, math.floor(math.log2(asked / base) + 1e-6)))


def _make_group(size: float, classes: Sequence[ClassFacts], native: Triple, order: dict[str, int]) -> Group:
    asked, reason = min(asked_nm(facts) for facts in classes)
    if asked < size:
        reason += f" would ask for {asked:.1f} nm, but most raw or annotation has {min(native):g} nm"
    z, y, x = (own if own >= _THICK_SECTIONS * size else size for own in native)
    return Group(
        classes=tuple(sorted(classes, key=lambda facts: order[facts.name])), voxel_size=(z, y, x), reason=reason
    )
