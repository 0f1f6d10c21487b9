"""Blur and low resolution: linear filters along each axis by itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from csc_data.config.settings import COUNT, NOT_NEGATIVE, SHARE, Given, Interval, setting, settings
from csc_data.loader.intensity.filter_loops import Taps, blur, filter_planes, filter_rows
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw

Axis = Literal["z", "y", "x"]
AXES: tuple[Axis, ...] = ("z", "y", "x")

_TRUNCATE = 4.0  # deviations at which a Gaussian ends
_SLIGHT = 0.05  # voxels; a Gaussian that narrow changes nothing


def same_taps(count: int) -> Taps:
    """Return the map that changes nothing.

    Examples
    --------
    >>> same_taps(3).places.ravel().tolist()
    [0, 1, 2]
    """
    return Taps(np.arange(count)[:, None], np.ones((count, 1), dtype=np.float32))


def gaussian_taps(count: int, sigma: float) -> Taps:
    """Return a Gaussian of a deviation in voxels; beyond the ends values are mirrored, so their sum is kept.

    Examples
    --------
    >>> taps = gaussian_taps(5, sigma=1.0)
    >>> taps.places[0].tolist()  # mirrored where the row begins
    [3, 2, 1, 0, 0, 1, 2, 3, 4]
    >>> bool(np.allclose(taps.weights.sum(axis=1), 1))
    True
    """
    radius = max(1, math.ceil(_TRUNCATE * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    index = (np.arange(count)[:, None] + offsets) % (2 * count)
    index = np.where(index < count, index, 2 * count - 1 - index)
    return Taps(index, np.broadcast_to(weights, index.shape).astype(np.float32, order="C"))


@functools.lru_cache(maxsize=256)  # there are few numbers of cells
def coarsening_taps(count: int, cells: int) -> Taps:
    """Return the means over equal cells that cover all voxels; a voxel on a border counts to both, in shares.

    Examples
    --------
    >>> coarsening_taps(4, 2).weights.tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
    """
    edges = np.linspace(0, count, cells + 1)
    index = np.floor(edges[:-1]).astype(np.int64)[:, None] + np.arange(math.ceil(count / cells) + 1)
    begin, end = np.maximum(index, edges[:-1, None]), np.minimum(index + 1, edges[1:, None])
    shares = np.maximum(end - begin, 0) * (cells / count)
    return Taps(np.minimum(index, count - 1), shares.astype(np.float32))


@functools.lru_cache(maxsize=256)
def refining_taps(cells: int, count: int) -> Taps:
    """Return the linear interpolation of cells at the voxels that they were made of; beyond the outermost, values hold.

    A cell stands where the weights of its voxels balance, which is not its middle where it has shares of voxels.

    Examples
    --------
    >>> refining_taps(2, 4).weights.tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    coarsening = coarsening_taps(count, cells)
    place = (coarsening.places * coarsening.weights.astype(np.float64)).sum(axis=1)
    if len(place) == 1:
        return Taps(np.zeros((count, 1), dtype=np.int64), np.ones((count, 1), dtype=np.float32))
    voxels = np.arange(count)
    low = np.clip(np.searchsorted(place, voxels, side="right") - 1, 0, len(place) - 2)
    share = np.clip((voxels - place[low]) / (place[low + 1] - place[low]), 0, 1)
    return Taps(np.stack([low, low + 1], axis=1), np.stack([1 - share, share], axis=1).astype(np.float32))


@settings
class Blur(IntensityTransform):
    """Blur with a Gaussian that is equally wide in nm along all axes; the mean is kept.

    An axis of a single voxel is left out: nothing is known beside a flat patch.
    """

    name: ClassVar[str] = "blur"

    probability: float = setting("how often it is applied", SHARE, default=0.2)
    sigma_nm: Interval = setting("standard deviations of the Gaussian in nm", NOT_NEGATIVE, default=(2.0, 10.0))

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        blur(raw, *self.draw_taps(raw.shape, rng, voxel_size))
        return raw

    def draw_taps(self, shape: Sequence[int], rng: np.random.Generator, voxel_size: Sequence[float]) -> list[Taps]:
        """Draw the filters along z, y and x."""
        sigma_nm = draw(rng, self.sigma_nm)
        sigmas = [sigma_nm / size for size in voxel_size]
        return [
            gaussian_taps(count, sigma) if count > 1 and sigma > _SLIGHT else same_taps(count)
            for count, sigma in zip(shape, sigmas, strict=True)
        ]


@settings
class LowResolution(IntensityTransform):
    """Average over cells that are larger than voxels, and interpolate linearly between them again.

    A function that is linear in z, y, x stays as it is but near the edges. An axis of a single voxel is left out.
    """

    name: ClassVar[str] = "low_resolution"

    probability: float = setting("how often it is applied", SHARE, default=0.1)
    factor: Interval = setting("edge lengths of a cell, in voxels", COUNT, default=(1.5, 3.0))
    axes: Given[tuple[Axis, ...], Sequence[Axis]] = setting("axes along which resolution is lost", default=AXES)

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        down, up = self.draw_taps(raw.shape, rng)
        z, y, x = shape = tuple(len(taps.places) for taps in down)
        if shape == raw.shape:
            return raw
        # Fewer values first: x last on the way down, and first on the way up.
        coarse = np.empty((z, y, raw.shape[2]), dtype=np.float32)
        filter_planes(raw, down[0], down[1], coarse)
        if x < raw.shape[2]:
            coarsest = np.empty(shape, dtype=np.float32)
            filter_rows(coarse, down[2], coarsest)
            filter_rows(coarsest, up[2], coarse)
        filter_planes(coarse, up[0], up[1], raw)
        return raw

    def draw_taps(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[list[Taps], list[Taps]]:
        """Draw the filters along z, y and x to cells, and back to voxels."""
        factor = draw(rng, self.factor)
        lost = {AXES.index(name) for name in self.axes}
        cells = [max(1, round(n / factor)) if axis in lost else n for axis, n in enumerate(shape)]
        return (
            [coarsening_taps(count, few) for count, few in zip(shape, cells, strict=True)],
            [refining_taps(few, count) for count, few in zip(shape, cells, strict=True)],
        )
