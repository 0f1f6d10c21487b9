"""How far beyond a crop patches reach: what raw must be there around it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from csc_data.geometry import Grid, Roi, Triple, as_triple
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.patch_map import Matrix, Vector
from csc_data.loader.poses.placement import PatchShape
from csc_data.loader.poses.spatial import LARGEST_DEVIATIONS, SpatialTransforms

_ALONG = 1e-9  # entry of a matrix that is more than rounding

KERNEL_VOXELS = 2
"""Voxels of an input, as it is not scaled, beyond its outer centres that interpolation and a low-pass look at."""

ROTATED = SpatialTransforms(rotate=((-180.0, 180.0),) * 3)
"""What is counted where nobody says what may be done to patches."""


def reach_beyond(patch: PatchShape, transforms: SpatialTransforms, extent: Triple, *, overhang: bool = False) -> Triple:
    """Return how many nm beyond a crop patches need raw, at most, on either side along z, y, x.

    Counted are all centres, orders of axes, rotations and scales that `TrainingPatches` can draw, a displacement of
    `LARGEST_DEVIATIONS`, and `KERNEL_VOXELS`.

    Parameters
    ----------
    patch : PatchShape
    transforms : SpatialTransforms
        What may be done to training patches.
    extent : tuple of float
        Of the crop, in nm.
    overhang : bool
        Whether upright tiles that cover the crop, as in validation, are to be counted, too.

    Examples
    --------
    >>> array = ArrayInfo(shape=(8, 8, 8), scale=(8, 8, 8))
    >>> cube = PatchShape(input=array, target=array)
    >>> reach_beyond(cube, SpatialTransforms(), (640, 640, 640))
    (12.0, 12.0, 12.0)
    >>> reach_beyond(cube, SpatialTransforms(), (648, 640, 640), overhang=True)
    (68.0, 12.0, 12.0)
    >>> [round(nm) for nm in reach_beyond(cube, SpatialTransforms.parse({"rotate": {"z": 45}}), (640, 640, 640))]
    [16, 36, 36]
    """
    drawn = transforms.for_shape(patch.input.shape)
    inputs = patch.input, *patch.further_inputs.values()
    size = np.asarray(extent, dtype=np.float64)
    along_axes = not any(drawn.rotate) and not any(drawn.scale)
    reach = np.zeros(3)
    for order in _orders(drawn, patch.input):
        inner = _least_inside(patch.target, size, order) if along_axes else None
        for factors in _factors(drawn):
            held = _least_held(drawn, patch.target, size, order, factors) if inner is None else inner
            for array in inputs:
                half = _spread(drawn, (_centres(array) * factors)[order]) + _kernel(drawn, array, order)
                reach = np.maximum(reach, half - held)
    if drawn.elastic is not None:
        bent = np.asarray(patch.input.shape) > 1
        reach = reach + LARGEST_DEVIATIONS * drawn.elastic.amplitude_nm * bent
    if overhang:
        half = np.max([_centres(array) + KERNEL_VOXELS * np.asarray(array.scale) for array in inputs], axis=0)
        reach = np.maximum(reach, half - _half(patch.target) + _tiled(patch.target, size) - size)
    return as_triple(np.maximum(reach, 0.0).tolist(), "reach")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReach:
    """What raw patches need around crops of any extent, for `csc_data.fetching.FetchOptions`.

    Attributes
    ----------
    patch : PatchShape
    transforms : SpatialTransforms
    """

    patch: PatchShape
    transforms: SpatialTransforms

    def __call__(self, extent: Triple) -> Triple:
        """Return how many nm beyond a crop of that extent training and validation read, see `reach_beyond`."""
        return reach_beyond(self.patch, self.transforms, extent, overhang=True)


def nearest_centre(anchor: Vector, start: Vector, matrix: Matrix, target: ArrayInfo) -> Vector:
    """Return where a patch's centre is when it is shifted from a place just so far that it holds an anchor.

    Parameters
    ----------
    anchor, start : ndarray
        Positions in nm.
    matrix : ndarray
        From offsets along the patch's axes to those along the volume's.
    target : ArrayInfo
        What has to hold it: the box of its voxel centres.

    Examples
    --------
    >>> target = ArrayInfo(shape=(4, 4, 4), scale=(8, 8, 8))
    >>> nearest_centre(np.array([0.0, 0.0, 0.0]), np.array([0.0, 0.0, 100.0]), np.eye(3), target).round().tolist()
    [0.0, 0.0, 12.0]
    """
    offset = np.abs(np.linalg.solve(matrix, anchor - start))
    shares = np.minimum(_holding(target) / np.maximum(offset, 1e-9), 1.0)
    coupled = np.abs(matrix) > _ALONG
    coupled = coupled @ coupled.T @ coupled  # axes that a rotation does not mix are shifted each by itself
    centre: Vector = anchor - np.where(coupled, shares, 1.0).min(axis=1) * (anchor - start)
    return centre


def _half(array: ArrayInfo) -> Vector:
    return np.asarray(array.extent) / 2


def _centres(array: ArrayInfo) -> Vector:
    """Return how far from the centre of an array its outer voxels have theirs."""
    centres: Vector = (np.asarray(array.shape) - 1) * np.asarray(array.scale) / 2
    return centres


def _kernel(transforms: SpatialTransforms, array: ArrayInfo, order: list[int]) -> Vector:
    """Return how far beyond a position is looked, along each axis of the volume."""
    _, mixed = _turning(transforms)
    nm = KERNEL_VOXELS * np.asarray(array.scale)[order]
    nm[mixed] = nm[mixed].max(initial=0.0)
    return nm


def _holding(target: ArrayInfo) -> Vector:
    """Return how far from the centre of a target an anchor may lie, along the patch's axes."""
    counts = np.maximum(np.asarray(target.shape) - 1, 1)
    held: Vector = counts * np.asarray(target.scale) / 2
    return held


def _orders(transforms: SpatialTransforms, array: ArrayInfo) -> Iterator[list[int]]:
    """Yield which axis of the patch may run along each axis of the volume."""
    free = [axis for axis in transforms.transpose if array.shape[axis] > 1]
    for drawn in itertools.permutations(free):
        order = [0, 1, 2]
        for axis, other in zip(free, drawn, strict=True):
            order[axis] = other
        yield order


def _factors(transforms: SpatialTransforms) -> Iterator[Vector]:
    """Yield the extreme factors along the patch's axes; what is reached in between is less."""
    ranges = list(dict.fromkeys(limits for limits in transforms.scale if limits is not None))
    for ends in itertools.product(*ranges):
        chosen = dict(zip(ranges, ends, strict=True))
        yield np.array([1.0 if limits is None else chosen[limits] for limits in transforms.scale])


def _turning(transforms: SpatialTransforms) -> tuple[Matrix, list[int]]:
    """Return what no entry of a rotation exceeds, and which axes it mixes."""
    most = np.eye(3)
    turned = [axis for axis, limits in enumerate(transforms.rotate) if limits is not None]
    for axis in turned:
        limits = transforms.rotate[axis]
        first, second = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = _largest_cosine(limits, 0.0)
        turn[first, second] = turn[second, first] = _largest_cosine(limits, 90.0)
        most = most @ turn
    return most, [axis for axis in range(3) if turned and turned != [axis]]


def _largest_cosine(limits: tuple[float, float] | None, phase: float) -> float:
    """Return the largest |cos(angle - phase)| of a range of degrees."""
    low, high = ((end - phase) / 180 for end in limits or (0.0, 0.0))
    return 1.0 if np.floor(high) >= np.ceil(low) else float(np.abs(np.cos(np.pi * np.array([low, high]))).max())


def _spread(transforms: SpatialTransforms, half: Vector, *, back: bool = False) -> Vector:
    """Return how far from the centre a box reaches along each axis, turned (or turned back) by any rotation."""
    most, mixed = _turning(transforms)
    spread: Vector = (most.T if back else most) @ half
    spread[mixed] = np.minimum(spread[mixed], np.linalg.norm(half[mixed]))
    return spread


def _least_inside(target: ArrayInfo, size: Vector, order: list[int]) -> Vector:
    """Return the least distance of a patch's centre from the faces of a crop where it lies on the crop's voxels."""
    scale, half = np.asarray(target.scale)[order], _half(target)[order]
    covered = _voxels(size, scale) * scale
    least: Vector = half - np.maximum(np.maximum(2 * half, covered) - size, 0.0)
    return least


def _least_held(
    transforms: SpatialTransforms, target: ArrayInfo, size: Vector, order: list[int], factors: Vector
) -> Vector:
    """Return the least distance of a turned patch's centre from the faces of a crop.

    It would lie in the crop if it were not turned, or around it; `nearest_centre` shifts it to an anchor at a face.
    """
    inside = np.minimum(_half(target)[order], size / 2)
    shares = (_holding(target) * factors)[order] / _spread(transforms, inside, back=True)
    _, mixed = _turning(transforms)
    shares[mixed] = shares[mixed].min(initial=1.0)
    least: Vector = np.minimum(shares, 1.0) * inside
    return least


def _voxels(size: Vector, scale: Vector) -> Vector:
    """Return how many voxels cover a crop."""
    return np.asarray(Grid.covering(Roi((0, 0, 0), size.tolist()), scale.tolist()).shape)


def _tiled(target: ArrayInfo, size: Vector) -> Vector:
    """Return how far from the first face of a crop its tiles reach, in nm."""
    tiles: Vector = np.ceil(_voxels(size, np.asarray(target.scale)) / target.shape) * target.extent
    return tiles
