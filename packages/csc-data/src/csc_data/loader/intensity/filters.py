"""Blur and low resolution: linear filters along each axis by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import COUNT, NOT_NEGATIVE, SHARE, Given, Interval, setting, settings
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw

Axis = Literal["z", "y", "x"]
AXES: tuple[Axis, ...] = ("z", "y", "x")

_TRUNCATE = 4.0  # deviations at which a Gaussian ends
_SLIGHT = 0.05  # voxels; a Gaussian that narrow changes nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bands:
    """A linear map of n values to m, each result of which takes a few neighbours.

    Attributes
    ----------
    first : ndarray
        int64, shape (m,): the first value that a result takes.
    weights : ndarray
        float32, shape (m, width).
    """

    first: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    @classmethod
    def from_entries(cls, index: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], count: int) -> Bands:
        """Build from which of count values contribute, and their weights, both of shape (m, any); equal ones add up."""
        first = index.min(axis=1)
        width = int((index.max(axis=1) - first).max()) + 1
        first = np.minimum(first, count - width)
        band = np.zeros((len(index), width))
        np.add.at(band, (np.arange(len(index))[:, None], index - first[:, None]), weights)
        return cls(first=first, weights=band.astype(np.float32))

    def along(self, raw: Raw, axis: int) -> Raw:
        """Apply along one axis and return a new array."""
        from csc_data.loader.intensity.compiled import combine, combine_rows

        shape = (*raw.shape[:axis], len(self.first), *raw.shape[axis + 1 :])
        out = np.empty(shape, dtype=np.float32)
        if math.prod(shape[axis + 1 :]) == 1:
            rows = (math.prod(shape[:axis]), -1)
            combine_rows(raw.reshape(rows), self.first, self.weights, out.reshape(rows))
        else:
            outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
            combine(raw.reshape(outer, -1, inner), self.first, self.weights, out.reshape(outer, -1, inner))
        return out


def gaussian_bands(count: int, sigma: float) -> Bands:
    """Return a Gaussian of a deviation in voxels; beyond the ends values are mirrored, so their sum is kept."""
    radius = max(1, math.ceil(_TRUNCATE * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    index = (np.arange(count)[:, None] + offsets) % (2 * count)
    index = np.where(index < count, index, 2 * count - 1 - index)
    return Bands.from_entries(index, np.broadcast_to(weights, index.shape), count)


def coarsening_bands(count: int, cells: int) -> Bands:
    """Return the means over equal cells that cover all voxels; a voxel on a border counts to both, in shares."""
    edges = np.linspace(0, count, cells + 1)
    index = np.floor(edges[:-1]).astype(np.int64)[:, None] + np.arange(math.ceil(count / cells) + 1)
    begin, end = np.maximum(index, edges[:-1, None]), np.minimum(index + 1, edges[1:, None])
    shares = np.maximum(end - begin, 0) * (cells / count)
    return Bands.from_entries(np.minimum(index, count - 1), shares, count)


def refining_bands(cells: Bands, count: int) -> Bands:
    """Return the linear interpolation of cells at the voxels that they were made of; beyond the outermost, values hold.

    A cell stands where the weights of its voxels balance, which is not its middle where it has shares of voxels.
    """
    index = cells.first[:, None] + np.arange(cells.weights.shape[1])
    place = (index * cells.weights.astype(np.float64)).sum(axis=1)
    if len(place) == 1:
        return Bands.from_entries(np.zeros((count, 1), dtype=np.int64), np.ones((count, 1)), 1)
    voxels = np.arange(count)
    low = np.clip(np.searchsorted(place, voxels, side="right") - 1, 0, len(place) - 2)
    share = np.clip((voxels - place[low]) / (place[low + 1] - place[low]), 0, 1)
    return Bands.from_entries(np.stack([low, low + 1], axis=1), np.stack([1 - share, share], axis=1), len(place))


@settings
class Blur(IntensityTransform):
    """Blur with a Gaussian that is equally wide in nm along all axes; the mean is kept.

    An axis of a single voxel is left out: nothing is known beside a flat patch.
    """

    name: ClassVar[str] = "blur"

    probability: float = setting("how often it is applied", SHARE, default=0.2)
    sigma_nm: Interval = setting("standard deviations of the Gaussian in nm", NOT_NEGATIVE, default=(2.0, 10.0))

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; returns a new array."""
        sigma_nm = draw(rng, self.sigma_nm)
        for axis in range(3):
            sigma = sigma_nm / voxel_size[axis]
            if raw.shape[axis] > 1 and sigma > _SLIGHT:
                raw = gaussian_bands(raw.shape[axis], sigma).along(raw, axis)
        return np.clip(raw, 0, 1, out=raw)


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
        """Change raw for certain; returns a new array."""
        factor = draw(rng, self.factor)
        shape = raw.shape
        cells = {}
        for axis in sorted({AXES.index(name) for name in self.axes}):
            number = max(1, round(shape[axis] / factor))
            if number < shape[axis]:
                cells[axis] = coarsening_bands(shape[axis], number)
                raw = cells[axis].along(raw, axis)
        for axis in reversed(cells):
            raw = refining_bands(cells[axis], shape[axis]).along(raw, axis)
        return np.clip(raw, 0, 1, out=raw)
