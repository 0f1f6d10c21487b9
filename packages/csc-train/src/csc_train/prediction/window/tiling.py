"""Where patches lie in a region: on one grid for all of it, as MONAI's `sliding_window_inference` places them."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import TOLERANCE, Grid, Roi, Shape, as_shape
from csc_data.loader import ArrayInfo, PatchShape
from csc_data.loader.poses.placement import Position, centred_grid
from csc_data.loader.poses.spatial import Orientation
from csc_train.settings import PredictSettings

Blending = Literal["gaussian", "constant"]
Starts = tuple[int, ...]

DEFAULT_OVERLAP = 0.25
INPUT = "input"
"""Name of the first array that a network takes."""

_PLANES = (
    Orientation(world_axis=(0, 1, 2)),  # planes across z: the patch's axes are z, y, x
    Orientation(world_axis=(1, 0, 2)),  # across y: y, z, x
    Orientation(world_axis=(2, 0, 1)),  # across x: x, z, y
)


def axis_starts(length: int, size: int, step: int, *, grain: int = 1, clamp: bool = True) -> Starts:
    """Return where windows begin along an axis of a region.

    Parameters
    ----------
    length, size, step : int
        Voxels of the region, of a window, and from one window to the next.
    grain : int
        Windows begin at multiples of this; ``step`` is one.
    clamp : bool
        Whether the last one ends with the region. Otherwise it is a step after the one before.

    Examples
    --------
    >>> axis_starts(300, 128, 96)
    (0, 96, 172)

    One window that is larger than the region has it in its middle:

    >>> axis_starts(100, 128, 96)
    (-14,)
    """
    if size >= length:
        return (-((size - length) // 2 // grain * grain),)
    count = -(-(length - size) // step)
    last = -(-(length - size) // grain) * grain if clamp else count * step
    return (*range(0, count * step, step), last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The windows of a region, in one orientation.

    Attributes
    ----------
    orientation : Orientation
        How patches lie.
    size : tuple of int
        Voxels of a window along the volume's axes: what is blended of a patch.
    starts : tuple
        For z, y, x where windows begin, in voxels of the region.

    Examples
    --------
    >>> from csc_data.loader.poses.spatial import Orientation
    >>> windows = Placement(orientation=Orientation(), size=(4, 4, 4), starts=((0,), (0,), (0, 2, 6)))
    >>> windows.touching((0, 0, 5), (4, 4, 6))
    ((0,), (0,), (2,))
    >>> list(windows.positions((0, 0, 6), (4, 4, 8))), windows.alone((0, 0, 6))
    ([(0, 0, 6)], True)
    """

    orientation: Orientation
    size: Shape
    starts: tuple[Starts, Starts, Starts]

    def touching(self, begin: Sequence[int], end: Sequence[int]) -> tuple[Starts, Starts, Starts]:
        """Return where the windows begin along each axis that hold voxels of a box."""
        z, y, x = (
            starts[bisect_right(starts, b - size) : bisect_left(starts, e)]
            for starts, size, b, e in zip(self.starts, self.size, begin, end, strict=True)
        )
        return z, y, x

    def positions(self, begin: Sequence[int], end: Sequence[int]) -> Iterator[Position]:
        """Yield where the windows begin that hold voxels of a box, z first: the order in which they are blended."""
        return itertools.product(*self.touching(begin, end))

    def alone(self, position: Position) -> bool:
        """Tell whether no other window holds a voxel of the one that begins there."""
        for starts, size, at in zip(self.starts, self.size, position, strict=True):
            number = bisect_left(starts, at)
            if number and at - starts[number - 1] < size:
                return False
            if number + 1 < len(starts) and starts[number + 1] - at < size:
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How patches lie over regions, and what is kept of each.

    Attributes
    ----------
    patch : PatchShape
        Input and target of the network in this prediction.
    halo : tuple of int
        Voxels, along the patch's axes, that are cut off each side of what the network gives.
    overlap : float
        Share of what is left of a patch that the next one covers, too.
    blending : {"gaussian", "constant"}
        How windows are weighted where they overlap.
    least : float
        The least weight of a voxel in a window.
    orthoplanes : bool
        Whether flat patches lie across all three axes.
    shift : tuple of int
        By how many voxels, along the patch's axes, windows begin before the region; to see what depends on where they
        lie.
    reach : tuple of int
        By how many voxels, along the patch's axes, windows reach beyond a region, so that voxels at its faces are seen
        with what is around them.
    room : pair of tuple of int
        How many voxels of raw there are before and after the region, along the volume's axes: they reach no further.
    """

    patch: PatchShape
    halo: Shape
    overlap: float
    blending: Blending = "gaussian"
    least: float = 0.0
    orthoplanes: bool = True
    shift: Shape = (0, 0, 0)
    reach: Shape = (0, 0, 0)
    room: tuple[Shape, Shape] = ((0, 0, 0), (0, 0, 0))

    @property
    def orientations(self) -> tuple[Orientation, ...]:
        """How patches lie: one way, or across each axis for flat ones."""
        return _PLANES if self.patch.target.flat and self.orthoplanes else _PLANES[:1]

    @property
    def kept(self) -> Shape:
        """Voxels of a window along the patch's axes."""
        return as_shape([n - 2 * h for n, h in zip(self.patch.target.shape, self.halo, strict=True)])

    @property
    def grains(self) -> Shape:
        """Voxels of the output along the patch's axes after which input voxels begin anew."""
        return as_shape([_grain(i, t) for i, t in zip(self.patch.input.scale, self.patch.target.scale, strict=True)])

    @property
    def step(self) -> Shape:
        """Voxels from one window to the next along the patch's axes."""
        # As MONAI rounds it, in binary arithmetic too.
        steps = [max(1, int(n * (1 - self.overlap))) for n in self.kept]
        return as_shape([max(g, s // g * g) for s, g in zip(steps, self.grains, strict=True)])

    def within(self, raw: Roi, region: Grid) -> Windows:
        """Return the same windows for a region of raw."""
        most = max(self.reach)
        before, after = (
            as_shape(
                [
                    min(most, max(0, math.floor(nm / v + TOLERANCE)))
                    for nm, v in zip(gap, region.voxel_size, strict=True)
                ]
            )
            for gap in (
                [r - b for r, b in zip(region.bounds.begin, raw.begin, strict=True)],
                [e - r for r, e in zip(region.bounds.end, raw.end, strict=True)],
            )
        )
        return replace(self, room=(before, after))

    def place(self, region: Shape) -> tuple[Placement, ...]:
        """Return the windows of a region of so many voxels, for each orientation.

        Examples
        --------
        >>> from csc_data.loader.poses.array_info import ArrayInfo
        >>> array = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
        >>> windows = plan_windows(PatchShape(input=array, target=array), overlap=0.5)
        >>> (placement,) = windows.place((4, 4, 8))
        >>> placement.starts
        ((0,), (0,), (0, 2, 4))
        """
        return tuple(self._placement(region, orientation) for orientation in self.orientations)

    def _placement(self, region: Shape, orientation: Orientation) -> Placement:
        size, step, grains, shifts, reach = (
            orientation.to_world(each) for each in (self.kept, self.step, self.grains, self.shift, self.reach)
        )
        # What a valid convolution gives depends on where pooling begins, so its windows keep their step to the end;
        # they see all their context, wherever they end.
        clamp = not brings_context(self.patch)
        found = []
        for axis, (n, w, by, grain) in enumerate(zip(region, size, step, grains, strict=True)):
            before, after = (min(room[axis], reach[axis]) // grain * grain for room in self.room)
            length = n + shifts[axis]
            # One window has the region in its middle, and so what fits of its surroundings.
            before, after = (0, 0) if length <= w else (before, after)
            starts = axis_starts(length + before + after, w, by, grain=grain, clamp=clamp)
            found.append(tuple(s - shifts[axis] - before for s in starts))
        z, y, x = found
        return Placement(orientation=orientation, size=as_shape(size), starts=(z, y, x))

    def inputs(self, region: Grid, orientation: Orientation, position: Position) -> Mapping[str, Grid]:
        """Return the grids that the network reads for a window, along the volume's axes, by the names of its arrays."""
        halo, shape = (orientation.to_world(each) for each in (self.halo, self.patch.target.shape))
        target = region.window([p - h for p, h in zip(position, halo, strict=True)], shape)
        arrays = {INPUT: self.patch.input, **self.patch.further_inputs}
        return {name: self._grid(target, info, orientation) for name, info in arrays.items()}

    def _grid(self, target: Grid, info: ArrayInfo, orientation: Orientation) -> Grid:
        if info == self.patch.target:
            return target  # the same grid, without arithmetic that could shift it
        # Planes of all directions lie on the grid of the volume, whatever its voxel size along each axis.
        return centred_grid(target, orientation.to_world(info.shape), info.scale)


def brings_context(patch: PatchShape) -> bool:
    """Tell whether the network takes more of the surroundings than it gives, as valid convolutions do.

    Examples
    --------
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> large, small = (ArrayInfo(shape=(n, n, n), scale=(8, 8, 8)) for n in (32, 16))
    >>> brings_context(PatchShape(input=large, target=small)), brings_context(PatchShape(input=large, target=large))
    (True, False)
    """
    return any(i > t for i, t in zip(patch.input.extent, patch.target.extent, strict=True))


def plan_windows(
    trained: PatchShape,
    *,
    patch_shape: Shape | None = None,
    overlap: float | None = None,
    halo: Shape | None = None,
) -> Windows:
    """Choose patches, what overlaps, and what is cut off.

    Parameters
    ----------
    trained : PatchShape
        Input and target as in training.
    patch_shape : tuple of int, optional
        Another input shape; the output is larger or smaller by the same nm.
    overlap : float, optional
        A quarter by default; 0 where inputs are larger than targets: then each voxel was seen with all its context.
    halo : tuple of int, optional
        By default an eighth of the patch where nothing overlaps that has no context, else nothing; then windows reach
        beyond a region.

    Raises
    ------
    InvalidArgumentError
        If they do not go together.

    Examples
    --------
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> array = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
    >>> windows = plan_windows(PatchShape(input=array, target=array), overlap=0.5)
    >>> windows.overlap, windows.step
    (0.5, (16, 16, 16))
    """
    patch = trained if patch_shape is None else _resized(trained, patch_shape)
    context = brings_context(patch)
    if overlap is None:
        overlap = 0.0 if context else DEFAULT_OVERLAP
    whole = Windows(patch=patch, halo=(0, 0, 0), overlap=overlap)
    reaches = halo is None and not context
    if halo is None:
        eighth = [n // 8 // g * g for n, g in zip(whole.kept, whole.grains, strict=True)]
        halo = as_shape([0 if context or overlap else n for n in eighth])
    for axis, size, margin in zip("zyx", patch.target.shape, halo, strict=True):
        if 2 * margin >= size:
            raise InvalidArgumentError(f"a halo of {margin} leaves nothing of {size} voxels along {axis}")
    windows = replace(whole, halo=halo)
    return replace(windows, reach=_reach(windows)) if reaches else windows


def _reach(windows: Windows) -> Shape:
    """Return how far windows that overlap go beyond a region: by the least with which one would end at its face.

    Up to an overlap of a half that is the overlap, so that voxels at the faces are seen as others are. And blocks of
    whole steps are touched by as few windows as if the first one began with the region.
    """
    return as_shape([0 if k == s else k % s or s for k, s in zip(windows.kept, windows.step, strict=True)])


def windows_of(trained: PatchShape, settings: PredictSettings) -> Windows:
    """Return the windows that settings ask for; see `plan_windows`.

    Examples
    --------
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> from csc_train import PredictSettings
    >>> array = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
    >>> windows_of(PatchShape(input=array, target=array), PredictSettings(blending="constant")).blending
    'constant'
    """
    windows = plan_windows(trained, patch_shape=settings.patch_shape, overlap=settings.overlap, halo=settings.halo)
    return replace(windows, blending=settings.blending, orthoplanes=settings.orthoplanes)


def _grain(given: float, target: float) -> int:
    """Return how many target voxels fill an input voxel; 1 where they do not."""
    ratio = round(given / target)
    return ratio if ratio >= 1 and abs(given - ratio * target) < 1e-6 * given else 1


def _resized(trained: PatchShape, shape: Shape) -> PatchShape:
    given, target = trained.input, trained.target
    finer = [round(i / t) for i, t in zip(given.scale, target.scale, strict=True)]
    if any(i != f * t for i, f, t in zip(given.scale, finer, target.scale, strict=True)):
        raise InvalidArgumentError(
            f"patch_shape cannot change where the input's voxel size {given.scale} is not a multiple of {target.scale}"
        )
    if (shape[0] == 1) != given.flat:
        raise InvalidArgumentError(f"patch_shape {shape} and the patches of training, {given.shape}, must both be flat")
    if trained.further_inputs:
        raise InvalidArgumentError("patch_shape cannot change where a network takes several arrays")
    sizes = [t + f * (n - i) for n, f, i, t in zip(shape, finer, given.shape, target.shape, strict=True)]
    if min(sizes) < 1:
        least = [i - t / f for i, f, t in zip(given.shape, finer, target.shape, strict=True)]
        raise InvalidArgumentError(f"patch_shape {shape} is too small: it must be above {[int(n) for n in least]}")
    return PatchShape(
        input=ArrayInfo(shape=shape, scale=given.scale),
        target=ArrayInfo(shape=as_shape(sizes), scale=target.scale),
    )
