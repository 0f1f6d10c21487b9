"""Patches filled on a device from regions that lie there: raw interpolated linearly, labels by nearest neighbour.

The same arithmetic as in `csc_data.loader.sources.gathering`. A patch is filled a few planes at a time, so that what
is needed besides stays below 256 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.loader.device.positions import RowPositions
from csc_data.loader.device.regions import DeviceRegion, send_table
from csc_data.loader.sources.gathering.rows import ROUNDING, TO_CUT_OFF
from csc_data.loader.sources.level_map import LevelMap, linear_steps, nearest_steps

_VOXELS_AT_ONCE = 1 << 21  # each takes some 110 bytes
_ONE_BITS, _WEIGHT_BITS = 32, 16
_ONE_WEIGHT = float(1 << _WEIGHT_BITS)


class _Neighbours(NamedTuple):
    """Along one axis of a region: how much further in it the voxels on either side of positions are.

    Shapes are such that they broadcast to some planes of the patch; ``far`` and ``weight``, that of the far ones, are
    None where all positions are those of voxels.
    """

    near: Tensor
    far: Tensor | None
    weight: Tensor | None

    def of_planes(self, planes: slice) -> _Neighbours:
        """Return those of some planes, where they lie along z."""
        if self.far is None or self.weight is None:
            return _Neighbours(self.near[planes], None, None)
        return _Neighbours(self.near[planes], self.far[planes], self.weight[planes])


def gather_raw(on: LevelMap, region: DeviceRegion, faces: npt.NDArray[np.int64], out: Tensor) -> None:
    """Fill a patch with raw as it would be stored: whole numbers.

    Parameters
    ----------
    on : LevelMap
        The patch's map in the grid of the region.
    region : DeviceRegion
        Holds all that the patch needs.
    faces : ndarray of int64
        Shape (2, 3): the first and one after the last voxel of raw, at whose faces it is mirrored.
    out : Tensor
        float32 (z, y, x); is filled.
    """
    most = float((1 << 8 * region.flat.itemsize) - 1)
    z, y, x = out.shape
    make = _upright_neighbours if on.positions is not None else _turned_neighbours
    for planes, axes in make(on, region, faces, (z, y, x)):
        torch.floor(_interpolate(region, axes).clamp_(0, most).add_(0.5), out=out[planes])


def _interpolate(region: DeviceRegion, axes: Sequence[_Neighbours], base: Tensor | None = None) -> Tensor:
    """Interpolate along the last axis first, as loops do."""
    if not axes:
        assert base is not None
        return region.take(base).to(torch.float32)
    near, far, weight = axes[0]
    value = _interpolate(region, axes[1:], near if base is None else base + near)
    if far is None or weight is None:
        return value
    other = _interpolate(region, axes[1:], far if base is None else base + far)
    return value.add_(other.sub_(value).mul_(weight))


def _planes(shape: tuple[int, int, int]) -> Iterator[slice]:
    step = max(1, _VOXELS_AT_ONCE // max(1, shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def _split(along: Tensor, shape: tuple[int, int, int]) -> list[Tensor]:
    """Split values for each voxel along z, then y, then x, into three that broadcast to a patch."""
    z, y, x = torch.split(along, list(shape))
    return [z.reshape(-1, 1, 1), y.reshape(1, -1, 1), x.reshape(1, 1, -1)]


def _upright_neighbours(
    on: LevelMap, region: DeviceRegion, faces: npt.NDArray[np.int64], shape: tuple[int, int, int]
) -> Iterator[tuple[slice, list[_Neighbours]]]:
    steps, weights = linear_steps(on, faces, region.begin, region.shape)
    between = [bool(part.any()) for part in np.split(weights, np.cumsum(shape[:2]))]
    device = region.flat.device
    sent = send_table(steps, device)
    near, far = _split(sent[:, 0], shape), _split(sent[:, 1], shape)
    weight = _split(send_table(weights, device), shape)
    axes = [
        _Neighbours(*each) if two else _Neighbours(each[0], None, None)
        for two, *each in zip(between, near, far, weight, strict=True)
    ]
    for planes in _planes(shape):
        yield planes, [axes[0].of_planes(planes), *axes[1:]]


def _turned_neighbours(
    on: LevelMap, region: DeviceRegion, faces: npt.NDArray[np.int64], shape: tuple[int, int, int]
) -> Iterator[tuple[slice, list[_Neighbours]]]:
    device = region.flat.device
    positions = RowPositions(on, shape, ROUNDING, region.begin, device)
    low, high = on.needed(0)
    limits = None
    if np.any(low < faces[0]) or np.any(high > faces[1]):
        limits = send_table((faces - region.begin).reshape(2, 3, 1, 1, 1), device)
    strides = send_table(np.array(region.strides).reshape(3, 1, 1, 1), device)
    for planes in _planes(shape):
        units = positions.units(planes)
        weight = (units >> _WEIGHT_BITS).bitwise_and_((1 << _WEIGHT_BITS) - 1).to(torch.float32).div_(_ONE_WEIGHT)
        near = units.bitwise_right_shift_(_ONE_BITS)
        far = near + 1
        if limits is not None:
            _mirror(near, limits)
            _mirror(far, limits)
        near, far = near.mul_(strides), far.mul_(strides)
        yield planes, [_Neighbours(near[axis], far[axis], weight[axis]) for axis in range(3)]


def _mirror(index: Tensor, limits: Tensor) -> None:
    """Replace the voxels beyond some limits by those that stand for them, see `rows.mirrored`."""
    first, last = limits
    count = last - first
    index.sub_(first).remainder_(2 * count)
    torch.minimum(index, 2 * count - 1 - index, out=index).add_(first)


def gather_labels(on: LevelMap, region: DeviceRegion, limits: npt.NDArray[np.float64], out: Tensor) -> None:
    """Fill a patch with targets.

    Parameters
    ----------
    on : LevelMap
        The patch's map in the grid of the region.
    region : DeviceRegion
        Of labels.
    limits : ndarray of float64
        Where they are known, see `csc_data.loader.sources.level_map.known_limits`.
    out : Tensor
        float32 (C, z, y, x), contiguous; is filled.
    """
    assert region.values is not None
    _, z, y, x = out.shape
    numbers = torch.empty((z, y, x), dtype=torch.int32, device=out.device)
    make = _upright_places if on.positions is not None else _turned_places
    unknown = region.values.shape[1] - 1
    for planes, places, known in make(on, region, limits, (z, y, x)):
        taken = region.take(places.mul_(known)).to(torch.int32)
        numbers[planes] = taken.masked_fill_(~known, unknown)
    torch.index_select(region.values, 1, numbers.reshape(-1), out=out.view(len(out), math.prod((z, y, x))))


def _upright_places(
    on: LevelMap, region: DeviceRegion, limits: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    steps = send_table(nearest_steps(on, limits, region.begin, region.shape), region.flat.device)
    z, y, x = _split(steps, shape)
    for planes in _planes(shape):
        known = (z[planes] >= 0) & (y >= 0) & (x >= 0)
        yield planes, z[planes] + y + x, known


def _turned_places(
    on: LevelMap, region: DeviceRegion, limits: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    begin, end = region.begin, region.begin + region.shape
    device = region.flat.device
    positions = RowPositions(on, shape, TO_CUT_OFF, begin, device)
    known_box = np.stack([np.maximum(limits[0], begin), np.minimum(limits[1], end)]) - begin
    first, last = send_table((known_box * (1 << _ONE_BITS)).astype(np.int64).reshape(2, 3, 1, 1, 1), device)
    strides = send_table(np.array(region.strides).reshape(3, 1, 1, 1), device)
    for planes in _planes(shape):
        units = positions.units(planes)
        known = (units >= first).logical_and_(units < last).all(dim=0)
        yield planes, units.bitwise_right_shift_(_ONE_BITS).mul_(strides).sum(dim=0), known
