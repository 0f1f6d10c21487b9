"""Noise of the detector: of equal strength everywhere, or as counting electrons gives it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from csc_data.config.settings import COUNT, NOT_NEGATIVE, SHARE, Interval, setting, settings
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw
from csc_data.loader.intensity.voxel_loops import change_voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Normal noise, independent between voxels.

    Attributes
    ----------
    variance : float
        Everywhere.
    variance_of_white : float
        What is added to that at white; in proportion to the intensity elsewhere.
    key : pair of int
        64 bits, of which the noise is a function (`fill_normals`).

    Examples
    --------
    >>> raw = Noise(variance=0.01, key=(1, 2)).add(np.full((8, 8, 8), 0.5, np.float32))
    >>> bool(0.05 < raw.std() < 0.15), bool(raw.min() >= 0)
    (True, True)
    """

    variance: float = 0.0
    variance_of_white: float = 0.0
    key: tuple[int, int] = (0, 0)

    def add(self, raw: Raw, curve: tuple[float, float, float] = (1.0, 1.0, 0.0)) -> Raw:
        """Add it to raw in place, and clip; before, exponent, factor and offset, see `change_voxels`."""
        key = np.uint32(self.key[0]), np.uint32(self.key[1])
        change_voxels(raw.reshape(-1), curve, (self.variance, self.variance_of_white), key)
        return raw


class NoiseTransform(IntensityTransform, abc.ABC):
    """A transform that is noise."""

    @abc.abstractmethod
    def draw_noise(self, rng: np.random.Generator) -> Noise:
        """Draw how much, and the key."""

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        return self.draw_noise(rng).add(raw)


def combine_noise(parts: Sequence[Noise]) -> Noise:
    """Return the sum of several independent noises as one, for half the random numbers; the key is the first one's.

    Examples
    --------
    >>> combine_noise([Noise(variance=0.25, key=(1, 2)), Noise(variance=0.5, variance_of_white=0.1)])
    Noise(variance=0.75, variance_of_white=0.1, key=(1, 2))
    """
    return Noise(
        variance=sum(noise.variance for noise in parts),
        variance_of_white=sum(noise.variance_of_white for noise in parts),
        key=parts[0].key,
    )


def _draw_key(rng: np.random.Generator) -> tuple[int, int]:
    first, second = rng.integers(2**32, size=2)
    return int(first), int(second)


@settings
class GaussianNoise(NoiseTransform):
    """Add normal noise, equally strong everywhere and independent between voxels; the mean stays but for clipping."""

    name: ClassVar[str] = "gaussian_noise"

    probability: float = setting("how often it is applied", SHARE, default=0.3)
    deviation: Interval = setting("standard deviations, as a share of the range", NOT_NEGATIVE, default=(0.01, 0.08))

    def draw_noise(self, rng: np.random.Generator) -> Noise:
        """Draw how much, and the key."""
        return Noise(variance=draw(rng, self.deviation) ** 2, key=_draw_key(rng))


@settings
class PoissonNoise(NoiseTransform):
    """Add noise as counting gives it: its variance is the intensity divided by the count that full white stands for.

    Normal noise with the variance of a Poisson distribution, which it is close to from some ten counts on.
    """

    name: ClassVar[str] = "poisson_noise"

    probability: float = setting("how often it is applied", SHARE, default=0.3)
    counts: Interval = setting("electrons that full white stands for", COUNT, default=(50.0, 1000.0))

    def draw_noise(self, rng: np.random.Generator) -> Noise:
        """Draw how much, and the key. Counts are drawn so that deviations are even on a logarithmic scale."""
        low, high = np.log(self.counts)
        return Noise(variance_of_white=1 / float(np.exp(draw(rng, (low, high)))), key=_draw_key(rng))
