"""Turning, scaling and bending patches: about and along the axes that are named, and no others.

What is drawn for a sample is one `Pose`, which becomes one map from the patch to the volume; raw and labels are read
through it once, each from what is stored.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import Problem, ProblemsError
from csc_data.geometry import Shape, Triple, as_triple
from csc_data.loader.poses.parsing import AXES, Elastic, SpatialForm
from csc_data.loader.poses.patch_map import Displacement, Matrix

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How one patch lies along the axes of the volume.

    Attributes
    ----------
    world_axis : tuple of int
        For each axis of the patch the axis of the volume that it runs along.
    mirrored : tuple of bool
        For each axis of the **volume** whether the patch runs against it.

    Examples
    --------
    >>> lying = Orientation(world_axis=(0, 2, 1), mirrored=(True, False, False))
    >>> lying.to_world((1, 2, 3))
    (1, 3, 2)
    >>> lying.turn(np.arange(4).reshape(2, 1, 2)).tolist()
    [[[2], [3]], [[0], [1]]]
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

    @property
    def matrix(self) -> Matrix:
        """The signed permutation from offsets along the patch's axes to those along the volume's."""
        matrix = np.zeros((3, 3))
        for axis, world in enumerate(self.world_axis):
            matrix[world, axis] = -1.0 if self.mirrored[world] else 1.0
        return matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pose:
    """How one patch lies in the volume, but for its place.

    Attributes
    ----------
    orientation : Orientation
        Mirror and transposition.
    linear : ndarray of float64, optional
        All of it where the patch is also rotated or scaled; None where it lies along the axes at its own scale.
    displacement : Displacement, optional
    """

    orientation: Orientation = field(default_factory=Orientation)
    linear: Matrix | None = None
    displacement: Displacement | None = None

    @property
    def matrix(self) -> Matrix:
        """From offsets along the patch's axes to those along the volume's."""
        return self.orientation.matrix if self.linear is None else self.linear


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialTransforms:
    """What may be done to a patch.

    Attributes
    ----------
    mirror : tuple of float
        Probability of a mirror image along z, y, x.
    transpose : tuple of int
        Axes that may change places, as numbers; none or at least two.
    rotate : tuple
        For z, y, x the range in degrees of a rotation about this axis; None for none.
    scale : tuple
        For z, y, x the range of the factor by which the patch covers more (above 1) or less of the volume; None for
        none. Axes with the same range get the same factor.
    elastic : Elastic, optional

    Examples
    --------
    >>> transforms = SpatialTransforms.parse({"mirror": {"axes": {"x": 1.0}}, "rotate": {"axes": {"z": [-180, 180]}}})
    >>> transforms.mirror, transforms.rotate[0]
    ((0.0, 0.0, 1.0), (-180.0, 180.0))
    >>> transforms.for_shape((1, 128, 128)).rotate
    ((-180.0, 180.0), None, None)
    >>> transforms.draw(np.random.default_rng(0), (32, 32, 32)).orientation.mirrored
    (False, False, True)
    """

    mirror: Triple = (0.0, 0.0, 0.0)
    transpose: tuple[int, ...] = ()
    rotate: tuple[tuple[float, float] | None, ...] = (None, None, None)
    scale: tuple[tuple[float, float] | None, ...] = (None, None, None)
    elastic: Elastic | None = None

    @classmethod
    def parse(cls, value: SpatialTransforms | Mapping[str, Any] | None) -> SpatialTransforms:
        """Understand the mapping that experiment files use.

        ::

            {"mirror": {"axes": {"x": 0.5, "y": 0.5}},             # probabilities; a list stands for 0.5 each
             "transpose": {"axes": ["x", "y"]},
             "rotate": {"axes": {"z": [-180, 180]}},                # degrees, about that axis
             "scale": {"axes": {"x": [0.8, 1.25], "y": [0.8, 1.25]}},
             "elastic": {"spacing_nm": 400, "amplitude_nm": 20, "probability": 0.3}}

        ``axes`` may be left out, a single number of degrees means both ways, and True stands for all axes.

        Raises
        ------
        ProblemsError
            With every unknown transform, axis, option and number out of range.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            problem = Problem(where="", what=f"expected a mapping of transforms, got {value!r}")
            raise ProblemsError("spatial_transforms", [problem])
        form = SpatialForm(**{str(name): options for name, options in value.items()})
        mirror = form.mirror.axes if form.mirror else {}
        transpose = form.transpose.axes if form.transpose else {}
        rotate = form.rotate.axes if form.rotate else {}
        scale = form.scale.axes if form.scale else {}
        return cls(
            mirror=as_triple([mirror.get(axis, 0.0) for axis in AXES], "mirror"),
            transpose=tuple(number for number, axis in enumerate(AXES) if transpose.get(axis)),
            rotate=tuple(rotate.get(axis) for axis in AXES),
            scale=tuple(scale.get(axis) for axis in AXES),
            elastic=form.elastic,
        )

    def for_shape(self, shape: Shape) -> SpatialTransforms:
        """Return what of it suits patches of a shape: a flat one, (1, y, x), is never turned out of its plane.

        Of rotations a flat patch has that about z. Where that is not named, but those about y and x are, as in the
        official 2D configuration, a rotation within the plane was meant: the range that both have in common is taken.
        """
        if shape[0] != 1 or self.rotate[1] is None is self.rotate[2]:
            return self
        in_plane = self.rotate[0]
        if in_plane is None and self.rotate[1] is not None and self.rotate[2] is not None:
            low, high = max(self.rotate[1][0], self.rotate[2][0]), min(self.rotate[1][1], self.rotate[2][1])
            in_plane = (low, high) if low <= high else None
        _log.info("flat patches are rotated about z alone, by %s degrees", in_plane or "no")
        return SpatialTransforms(
            mirror=self.mirror,
            transpose=self.transpose,
            rotate=(in_plane, None, None),
            scale=self.scale,
            elastic=self.elastic,
        )

    def draw(self, rng: np.random.Generator, shape: Shape, extent_nm: Triple | None = None) -> Pose:
        """Draw a pose for a patch of that shape.

        Parameters
        ----------
        rng : Generator
        shape : tuple of int
            Voxels of the patch. An axis of a single voxel never changes places: a flat patch stays in its plane.
        extent_nm : tuple of float, optional
            What an elastic displacement has to cover, along the patch's axes.
        """
        mirrored = [bool(draw < chance) for draw, chance in zip(rng.random(3), self.mirror, strict=True)]
        free = [axis for axis in self.transpose if shape[axis] > 1]
        world = [0, 1, 2]
        for axis, target in zip(free, rng.permutation(free) if free else (), strict=True):
            world[axis] = int(target)
        orientation = Orientation(
            world_axis=(world[0], world[1], world[2]), mirrored=(mirrored[0], mirrored[1], mirrored[2])
        )
        linear = None
        if any(self.rotate) or any(self.scale):
            linear = self._draw_rotation(rng, shape) @ orientation.matrix * self._draw_scale(rng)
        displacement = None
        if self.elastic is not None and extent_nm is not None and rng.random() < self.elastic.probability:
            displacement = draw_displacement(rng, self.elastic, shape, extent_nm)
        return Pose(orientation=orientation, linear=linear, displacement=displacement)

    def _draw_rotation(self, rng: np.random.Generator, shape: Shape) -> Matrix:
        rotation = np.eye(3)
        for axis, limits in enumerate(self.rotate):
            if limits is None:
                continue
            angle = np.deg2rad(rng.uniform(*limits))
            first, second = [other for other in range(3) if other != axis]
            if shape[0] == 1 and axis != 0:
                continue
            turn = np.eye(3)
            turn[first, first] = turn[second, second] = np.cos(angle)
            turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
            rotation = rotation @ turn
        return rotation

    def _draw_scale(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        factors = np.ones(3)
        drawn: dict[tuple[float, float], float] = {}
        for axis, limits in enumerate(self.scale):
            if limits is not None:
                if limits not in drawn:  # halving is as likely as doubling
                    drawn[limits] = float(np.exp(rng.uniform(*np.log(limits))))
                factors[axis] = drawn[limits]
        return factors


_FINER = 4  # grid points of the smooth field to one that is drawn

LARGEST_DEVIATIONS = 4.0
"""Standard deviations that a displacement has at most along an axis, so that it is known how far a patch reaches."""


def draw_displacement(rng: np.random.Generator, elastic: Elastic, shape: Shape, extent_nm: Triple) -> Displacement:
    """Draw a displacement over a patch: normal deviates on a coarse grid, between them a cubic spline.

    An axis of a single voxel is not displaced along, and the field does not vary along it. One place in 16,000 would go
    further than `LARGEST_DEVIATIONS`; it goes just that far.

    Examples
    --------
    >>> from csc_data.loader.poses.spatial import Elastic
    >>> elastic = Elastic(spacing_nm=400, amplitude_nm=20, probability=1)
    >>> field = draw_displacement(np.random.default_rng(0), elastic, (1, 64, 64), (8.0, 512.0, 512.0))
    >>> field.values.shape[0], float(np.abs(field.values[0]).max())  # a flat patch is not bent out of its plane
    (3, 0.0)
    """
    counts = [
        1 if n == 1 else int(np.ceil(extent / elastic.spacing_nm)) + 4
        for n, extent in zip(shape, extent_nm, strict=True)
    ]
    drawn = rng.normal(0.0, elastic.amplitude_nm, (3, *counts))
    for axis, n in enumerate(shape):
        if n == 1:
            drawn[axis] = 0.0
    finer = [1 if n == 1 else (n - 1) * _FINER + 1 for n in counts]
    values = drawn
    for axis, n in enumerate(counts):
        if n > 1:
            values = np.moveaxis(np.tensordot(_spline(n), values, axes=(1, axis + 1)), 0, axis + 1)
    values = values.clip(-LARGEST_DEVIATIONS * elastic.amplitude_nm, LARGEST_DEVIATIONS * elastic.amplitude_nm)
    step = np.array([elastic.spacing_nm / (_FINER if n > 1 else 1) for n in counts])
    begin = np.array([-(m - 1) / 2 for m in finer]) * step
    return Displacement(values=np.ascontiguousarray(values, dtype=np.float32), begin=begin, step=step)


@functools.cache
def _spline(count: int) -> npt.NDArray[np.float64]:
    """Return what takes values at the points that are drawn to a cubic spline through them at the finer ones.

    Shape (finer, count). A spline on a grid is one along each axis: as matrices they take a hundredth of the time.
    """
    from scipy import ndimage  # here, as half a second of import is for those who want it

    at = np.linspace(0, count - 1, (count - 1) * _FINER + 1)[np.newaxis]
    return np.stack([ndimage.map_coordinates(unit, at, order=3, mode="nearest") for unit in np.eye(count)], axis=1)
