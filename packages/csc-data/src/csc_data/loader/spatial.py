"""Turning patches: mirror and transpose, about the axes that are named and no others."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import Problem, ProblemsError
from csc_data.geometry import Shape

AXES = ("z", "y", "x")
_KNOWN = ("mirror", "transpose")
_LATER = ("rotate",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How one patch lies in the volume.

    Attributes
    ----------
    world_axis : tuple of int
        For each axis of the patch the axis of the volume that it runs along.
    mirrored : tuple of bool
        For each axis of the **volume** whether the patch runs against it.
    """

    world_axis: tuple[int, int, int] = (0, 1, 2)
    mirrored: tuple[bool, bool, bool] = (False, False, False)

    def to_world(self, values: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Order values that belong to the patch's axes by the volume's axes."""
        z, y, x = (values[self.world_axis.index(axis)] for axis in range(3))
        return z, y, x

    def turn(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring an array that was read along the volume's axes into the patch's; the last three axes are turned."""
        lead = data.ndim - 3
        flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.mirrored)
        order = (*range(lead), *(lead + axis for axis in self.world_axis))
        turned: npt.NDArray[Any] = data[(..., *flips)].transpose(order)
        return turned


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialTransforms:
    """What may be done to a patch.

    Attributes
    ----------
    mirror : tuple of float
        Probability of a mirror image along z, y, x.
    transpose : tuple of int
        Axes that may change places, as numbers; none or at least two.
    """

    mirror: tuple[float, float, float] = (0.0, 0.0, 0.0)
    transpose: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: SpatialTransforms | Mapping[str, Any] | None) -> SpatialTransforms:
        """Understand the mapping that experiment files use.

        ``{"mirror": {"axes": {"x": 0.5, "y": 0.5}}, "transpose": {"axes": ["x", "y"]}}``; a list of axes for
        ``mirror`` stands for a probability of 0.5 each.

        Raises
        ------
        ProblemsError
            With every unknown transform, axis and probability. Rotation is not available yet.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            problem = Problem(where="value", what=f"expected a mapping of transforms, got {value!r}")
            raise ProblemsError("spatial_transforms", [problem])
        problems: list[Problem] = []
        for name in value:
            if name in _LATER:
                remedy = "remove it; mirror and transpose are there"
                problems.append(Problem(where=str(name), what="is not available yet", remedy=remedy))
            elif name not in _KNOWN:
                near = difflib.get_close_matches(str(name), _KNOWN, n=1)
                remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(_KNOWN)}"
                problems.append(Problem(where=str(name), what="there is no such transform", remedy=remedy))
        mirror = _parse_mirror(value.get("mirror"), problems)
        transpose = _parse_transpose(value.get("transpose"), problems)
        if problems:
            raise ProblemsError("spatial_transforms", problems)
        return cls(mirror=mirror, transpose=transpose)

    def draw(self, rng: np.random.Generator, shape: Shape) -> Orientation:
        """Draw an orientation for a patch of that shape.

        An axis of a single voxel never changes places: a flat patch stays in its plane.
        """
        mirrored = [bool(draw < chance) for draw, chance in zip(rng.random(3), self.mirror, strict=True)]
        free = [axis for axis in self.transpose if shape[axis] > 1]
        world = [0, 1, 2]
        for axis, target in zip(free, rng.permutation(free) if free else (), strict=True):
            world[axis] = int(target)
        return Orientation(world_axis=(world[0], world[1], world[2]), mirrored=(mirrored[0], mirrored[1], mirrored[2]))


def _axes_of(name: str, entry: Any, problems: list[Problem]) -> dict[str, Any]:
    axes = entry.get("axes") if isinstance(entry, Mapping) else entry
    surplus = [key for key in entry if key != "axes"] if isinstance(entry, Mapping) else []
    if surplus:
        what = f"has no option {', '.join(map(repr, surplus))}"
        problems.append(Problem(where=name, what=what, remedy="its only option is axes"))
    if isinstance(axes, Mapping):
        found = dict(axes)
    elif isinstance(axes, list | tuple):
        found = dict.fromkeys(axes, 0.5)
    else:
        problems.append(Problem(where=name, what=f"needs axes, such as ['x', 'y'], got {entry!r}"))
        return {}
    problems.extend(
        Problem(where=f"{name}.axes", what=f"there is no axis {axis!r}", remedy="axes are z, y, x")
        for axis in found
        if axis not in AXES
    )
    return {axis: option for axis, option in found.items() if axis in AXES}


def _parse_mirror(entry: Any, problems: list[Problem]) -> tuple[float, float, float]:
    chances = _axes_of("mirror", entry, problems) if entry is not None else {}
    for axis, chance in chances.items():
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            what = f"must be a probability from 0 to 1, got {chance!r}"
            problems.append(Problem(where=f"mirror.axes.{axis}", what=what))
            return (0.0, 0.0, 0.0)
    z, y, x = (float(chances.get(axis, 0.0)) for axis in AXES)
    return z, y, x


def _parse_transpose(entry: Any, problems: list[Problem]) -> tuple[int, ...]:
    named = _axes_of("transpose", entry, problems) if entry is not None else {}
    return tuple(number for number, axis in enumerate(AXES) if axis in named)
