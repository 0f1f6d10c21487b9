"""Random numbers that belong to places: the same at a place, whatever is computed around it.

A number is a hash of a key and of integers that say where it is. Only operations are used whose result for a voxel
does not depend on its neighbours in memory, so that a volume is the same bytes in whatever blocks it is made.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_data.synthetic.specimen.boxes import Axes, Field

Hash = npt.NDArray[np.uint32]

_BITS = 0xFFFFFFFF
_PRIMES = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
# Standard deviation of uniform values in [-1, 1] after smoothing by three quadratic B-splines, on average over places.
_SMOOTHED = 0.2357


def mix(values: Hash) -> Hash:
    """Scramble 32-bit numbers in place (the finalizer of MurmurHash3), and return them."""
    values ^= values >> np.uint32(16)
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


@functools.lru_cache(maxsize=1 << 16)
def derive(key: int, *numbers: int) -> int:
    """Return a key of its own for what some numbers name.

    >>> derive(1, 2) == derive(1, 2), derive(1, 2) == derive(2, 1)
    (True, False)
    """
    value = key & _BITS
    for number in numbers:
        value = (value * 0x2545F491 + (number & _BITS) + 0x6C078965) & _BITS
        value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _BITS
        value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _BITS
        value ^= value >> 16
    return value


def hash_places(key: int, z: npt.NDArray[np.int64], y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> Hash:
    """Return a random 32-bit number for each place of a grid, given by its indices per axis."""
    hz, hy, hx = (
        mix(axis.astype(np.uint32) * np.uint32(prime) + np.uint32(derive(key, number)))
        for number, (axis, prime) in enumerate(zip((z, y, x), _PRIMES, strict=True))
    )
    planes = mix(hz[:, None] + hy[None, :])
    return mix(planes[:, :, None] + hx)


def unit(values: Hash) -> Field:
    """Return numbers in [0, 1)."""
    return (values >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def normal(values: Hash) -> Field:
    """Return numbers of mean 0 and standard deviation 1: the sum of four bytes, cut off at 3.5."""
    total = (values & np.uint32(255)) + (values >> np.uint32(24))
    total += (values >> np.uint32(8)) & np.uint32(255)
    total += (values >> np.uint32(16)) & np.uint32(255)
    result = total.astype(np.float32)
    result -= np.float32(510.0)
    result *= np.float32(1 / 147.8)
    return result


@dataclass(frozen=True, slots=True)
class SmoothNoise:
    """A smooth random function of places in nm, of mean 0 and standard deviation 1.

    Random values on a grid are blended by quadratic B-splines.

    Attributes
    ----------
    key : int
        Another key is another function.
    spacing_nm : float
        Of the grid; bumps are about twice as wide.
    """

    key: int
    spacing_nm: float

    def on(self, axes: Axes, derivative: int | None = None) -> Field:
        """Return the values at the voxels of a box, or their derivative per nm along an axis."""
        taps = [self._taps(axis, derivative == number) for number, axis in enumerate(axes)]
        lows = [int(nearest[0]) - 1 for nearest, _ in taps]
        ranges = [np.arange(low, int(nearest[-1]) + 2) for low, (nearest, _) in zip(lows, taps, strict=True)]
        grid = self._values(*ranges)
        # Planes come last, so that most of the work is on few rows that stay in the processor's cache.
        for number in (2, 1):
            nearest, weights = taps[number]
            start = nearest - lows[number] - 1
            shape = [1, 1, 1]
            shape[number] = len(nearest)
            parts = [
                np.take(grid, start + tap, axis=number) * weights[tap].reshape(shape).astype(np.float32)
                for tap in range(3)
            ]
            grid = (parts[0] + parts[1]) + parts[2]
        nearest, weights = taps[0]
        result = np.empty((len(nearest), *grid.shape[1:]), np.float32)
        spare = np.empty(grid.shape[1:], np.float32)
        for plane, (place, row) in enumerate(zip(nearest - lows[0] - 1, weights.T.astype(np.float32), strict=True)):
            np.multiply(grid[place], row[0], out=result[plane])
            for tap in (1, 2):
                np.multiply(grid[place + tap], row[tap], out=spare)
                result[plane] += spare
        return result

    def at(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the values at points in nm, shape (n, 3)."""
        taps = [self._taps(points[:, number], False) for number in range(3)]
        steps = np.arange(3)[:, None] - 1
        z, y, x = (self._hash(nearest + steps, number) for number, (nearest, _) in enumerate(taps))
        wz, wy, wx = (weights for _, weights in taps)
        # All 27 nodes around each point at once, as there are often few points.
        nodes = _node(mix(mix(z[:, None] + y[None])[:, :, None] + x[None, None]))
        rows = ((nodes[:, :, 0] * wx[0] + nodes[:, :, 1] * wx[1]) + nodes[:, :, 2] * wx[2]) * wy[None]
        planes = ((rows[:, 0] + rows[:, 1]) + rows[:, 2]) * wz
        total: npt.NDArray[np.float64] = (planes[0] + planes[1]) + planes[2]
        return total

    def _hash(self, places: npt.NDArray[np.int64], axis: int) -> Hash:
        """Return what `hash_places` makes of an axis."""
        return mix(places.astype(np.uint32) * np.uint32(_PRIMES[axis]) + np.uint32(derive(self.key, axis)))

    def _taps(
        self, axis: npt.NDArray[np.float64], derivative: bool
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the nearest node to each place, and the weights of it and its two neighbours."""
        position = axis / self.spacing_nm
        nearest = np.floor(position + 0.5).astype(np.int64)
        t = position - nearest
        if derivative:
            return nearest, np.stack([t - 0.5, -2 * t, t + 0.5]) / self.spacing_nm
        return nearest, np.stack([0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2])

    def _values(
        self, z: npt.NDArray[np.int64], y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        return (unit(hash_places(self.key, z, y, x)) * np.float32(2) - np.float32(1)) * np.float32(1 / _SMOOTHED)


def _node(values: Hash) -> npt.NDArray[np.float64]:
    """Return a node's value: uniform, so large that smoothed ones have a standard deviation of 1."""
    return (unit(values).astype(np.float64) * 2 - 1) / _SMOOTHED
