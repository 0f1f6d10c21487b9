"""The steps that there are: their parameters, how much context they need, and which other classes they read.

They are declared here and done in `csc_submit.processing`, so that reading settings imports neither scipy nor cc3d.
A *local* step looks no further than its halo. *Holes* and *objects* steps are global: they go through tables of the
components of all blocks, and so do not depend on blocks at all. A *watershed* is made of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from csc_data.config.settings import (
    NOT_NEGATIVE,
    POSITIVE,
    Given,
    Limits,
    Names,
    not_empty,
    setting,
    settings,
)
from csc_data.geometry import Shape, Triple, as_shape
from csc_data.volumes.affinities import NEAREST_NEIGHBOURS, Offset, affinity_name, offset_problems

Scope = Literal["local", "holes", "objects", "watershed"]

TRUNCATE = 3.0
"""Sigmas after which a Gaussian is cut off; 0.3 % of it lie beyond."""

_NO_VOXELS: Shape = (0, 0, 0)


class Step:
    """What all steps have in common: they look at their voxel alone, take masks, and read no other class.

    Examples
    --------
    >>> Opening(radius_nm=20.0).halo((8.0, 8.0, 8.0)), Threshold(level=0.5).channels("mito")
    ((6, 6, 6), ())
    """

    scope: ClassVar[Scope] = "local"
    takes_values: ClassVar[bool] = False
    """Whether probabilities may come in; all others need a mask or ids."""

    def halo(self, voxel_size: Triple) -> Shape:
        """Return the voxels on each side of a block beyond which nothing changes its result."""
        return _NO_VOXELS

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """The classes that it reads, by the setting that names them."""
        return {}

    @property
    def reads(self) -> tuple[str, ...]:
        """The other classes whose results it reads."""
        return tuple(name for names in self.named.values() for name in names)

    def channels(self, class_name: str) -> tuple[str, ...]:
        """Return the names of the predictions, beside that of the class itself, that it reads."""
        return ()


@settings
class Smoothing(Step):
    """Smooth probabilities by a Gaussian."""

    takes_values = True
    sigma_nm: float = setting("Sigma in nm.", NOT_NEGATIVE)

    def halo(self, voxel_size: Triple) -> Shape:
        """Return where the Gaussian is cut off."""
        return as_shape([int(TRUNCATE * self.sigma_nm / v + 0.5) for v in voxel_size])


@settings
class Own(Step):
    """Call ``process_func``."""

    takes_values = True
    context: Any = setting("Voxels of context on each side.", default=_NO_VOXELS)
    together: Names = setting("The classes whose predictions it gets at once.", default=())
    parameters: Any = setting("Pairs of names and values: its keyword arguments.", default=())

    def halo(self, voxel_size: Triple) -> Shape:
        """Return what it is given."""
        return as_shape(self.context)

    def channels(self, class_name: str) -> tuple[str, ...]:
        """Return the names of the other classes that it gets."""
        return tuple(name for name in self.together if name != class_name) if class_name in self.together else ()


@settings
class Threshold(Step):
    """Make a mask of what lies above a probability; masks and ids pass."""

    takes_values = True
    level: float | None = setting(
        "The probability; the setting threshold by default.", Limits(gt=0, lt=1), default=None
    )


def _both_ways(radius_nm: float, voxel_size: Triple) -> Shape:
    # The first of two distances looks as far as the radius, and the second once more.
    return as_shape([2 * (math.floor(radius_nm / v) + 1) if radius_nm else 0 for v in voxel_size])


@settings
class Opening(Step):
    """Remove what is thinner than a ball."""

    radius_nm: float = setting("Radius of the ball in nm.", NOT_NEGATIVE)

    def halo(self, voxel_size: Triple) -> Shape:
        """Return twice the ball."""
        return _both_ways(self.radius_nm, voxel_size)


@settings
class Closing(Step):
    """Fill what a ball outside does not reach; beyond the volume everything counts as reached from."""

    radius_nm: float = setting("Radius of the ball in nm.", NOT_NEGATIVE)

    def halo(self, voxel_size: Triple) -> Shape:
        """Return twice the ball."""
        return _both_ways(self.radius_nm, voxel_size)


@settings
class FillHoles(Step):
    """Fill background that is enclosed on all sides within the volume; among ids, by one of them."""

    scope = "holes"


class ObjectStep(Step):
    """A step that keeps some objects.

    Examples
    --------
    >>> RemoveSmall(voxels=10).limits((8.0, 8.0, 8.0))
    (10, inf)
    """

    scope = "objects"

    def limits(self, voxel_size: Triple) -> tuple[float, float]:
        """Return the fewest and the most voxels of an object that stays."""
        return 0, math.inf


def _voxels(nm3: float, voxel_size: Triple) -> float:
    return nm3 / math.prod(voxel_size)


@settings
class RemoveSmall(ObjectStep):
    """Remove objects of fewer voxels, or less volume."""

    voxels: int = setting("Voxels from which on an object stays.", NOT_NEGATIVE, default=0)
    nm3: float = setting("Volume from which on it stays.", NOT_NEGATIVE, default=0.0)

    def limits(self, voxel_size: Triple) -> tuple[float, float]:
        """Return the larger of both limits, and none above."""
        return max(self.voxels, math.ceil(_voxels(self.nm3, voxel_size) - 1e-9)), math.inf


@settings
class RemoveLarge(ObjectStep):
    """Remove objects of more voxels, or more volume."""

    voxels: int | None = setting("Voxels up to which an object stays.", NOT_NEGATIVE, default=None)
    nm3: float | None = setting("Volume up to which it stays.", NOT_NEGATIVE, default=None)

    def limits(self, voxel_size: Triple) -> tuple[float, float]:
        """Return the smaller of both limits, and none below."""
        most = math.inf if self.nm3 is None else math.floor(_voxels(self.nm3, voxel_size) + 1e-9)
        return 0, min(most, math.inf if self.voxels is None else self.voxels)


@settings
class SizeFilter(ObjectStep):
    """Keep objects of a range of volumes."""

    min_nm3: float = setting("Least volume.", NOT_NEGATIVE, default=0.0)
    max_nm3: float | None = setting("Largest volume.", NOT_NEGATIVE, default=None)

    def limits(self, voxel_size: Triple) -> tuple[float, float]:
        """Return both limits in voxels."""
        small, large = RemoveSmall(nm3=self.min_nm3), RemoveLarge(nm3=self.max_nm3)
        return small.limits(voxel_size)[0], large.limits(voxel_size)[1]


@settings
class Largest(ObjectStep):
    """Keep the largest objects; of equal ones those whose first voxel comes first."""

    count: int = setting("How many.", Limits(ge=1), default=1)


@settings
class Components(ObjectStep):
    """Number objects from 1 by their first voxels in the order z, y, x; touching voxels of equal value are one."""


@settings
class Watershed(Step):
    """Divide a mask among seeds, and number what results.

    An object without seed stays one. Blocks do not show in objects of the mask that lie within the margin of each block
    that they touch; of larger ones the borders between seeds may differ from those of the whole volume.
    """

    scope = "watershed"
    seeds: str = setting("distance, or a class whose objects are the seeds, such as mito_lum.", default="distance")
    seed_distance_nm: float = setting(
        "Of seeds by distance: what lies as deep in the mask, piece by piece.", POSITIVE, default=40.0
    )
    on: str = setting(
        "What is flooded: distance to the border, probability, or the distance to a class between, such as mito_mem.",
        default="distance",
    )
    margin_nm: float = setting("Context of each block in nm.", NOT_NEGATIVE, default=200.0)

    @property
    def boundary(self) -> str | None:
        """The class that lies between objects, if one is named."""
        return None if self.on in ("distance", "probability") else self.on

    def halo(self, voxel_size: Triple) -> Shape:
        """Return the margin."""
        return as_shape([math.ceil(self.margin_nm / v) for v in voxel_size])

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """The classes that give seeds and borders."""
        seeds = () if self.seeds == "distance" else (self.seeds,)
        return {"seeds": seeds, "on": () if self.boundary is None else (self.boundary,)}


@settings
class MutexWatershed(ObjectStep):
    """Divide a mask by predicted affinities, and number what results.

    The affinities of ``mito`` are the predictions ``mito_affinity_-1_0_0`` and so on, as a target of the kind
    ``affinities`` names its channels. Above the level they hold two voxels together, below they keep them apart, the
    surest first (Wolf et al. 2019, https://arxiv.org/abs/1904.12654). Voxels that nothing attracts are left out.
    """

    offsets: Given[tuple[Offset, ...], Sequence[Sequence[int]]] = setting(
        "From a voxel to its partner, in voxels, z, y, x, of the affinities to read.",
        not_empty,
        offset_problems,
        default=NEAREST_NEIGHBOURS,
    )
    level: float = setting("The affinity that neither attracts nor repels.", Limits(gt=0, lt=1), default=0.5)
    margin_nm: float = setting("Context of each block in nm.", NOT_NEGATIVE, default=200.0)

    def halo(self, voxel_size: Triple) -> Shape:
        """Return the margin."""
        return as_shape([math.ceil(self.margin_nm / v) for v in voxel_size])

    def channels(self, class_name: str) -> tuple[str, ...]:
        """Return the names of the affinities."""
        return tuple(affinity_name(class_name, offset) for offset in self.offsets)


class _WithOthers(Step):
    of: Any

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """The classes that are named."""
        return {"of": tuple(self.of)}


@settings
class Inside(_WithOthers):
    """Keep what lies in one of these classes."""

    of: Names = setting("The classes.")


@settings
class Outside(_WithOthers):
    """Keep what lies in none of these classes."""

    of: Names = setting("The classes.")


@settings
class Union(_WithOthers):
    """Add what these classes have."""

    of: Names = setting("The classes.")


@settings
class Hierarchy(Step):
    """Make classes agree: a group has all that its parts have, and classes that exclude each other do not overlap.

    Where two claim a voxel, parts go before groups, and otherwise what stands first in ``classes`` (without it, in the
    challenge's list). Give it to all classes concerned, as the last step before objects.
    """


STEPS: Mapping[str, type[Step]] = {
    "smoothing": Smoothing,
    "process_func": Own,
    "threshold": Threshold,
    "opening": Opening,
    "closing": Closing,
    "fill_holes": FillHoles,
    "remove_small": RemoveSmall,
    "remove_large": RemoveLarge,
    "size_filter": SizeFilter,
    "largest_component": Largest,
    "components": Components,
    "watershed": Watershed,
    "mutex_watershed": MutexWatershed,
    "inside": Inside,
    "outside": Outside,
    "union": Union,
    "hierarchy": Hierarchy,
}
"""All steps by the names that settings know."""
