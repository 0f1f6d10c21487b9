"""Noise of the detector: of equal strength everywhere, or as counting electrons gives it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import COUNT, NOT_NEGATIVE, SHARE, Interval, setting, settings
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw

_QUANTILES = 65536


@functools.cache
def normal_quantiles() -> npt.NDArray[np.float32]:
    """Return 65,536 equally likely values of a normal distribution (mean 0, deviation 1), for 16 random bits each.

    A look-up takes a quarter of the time of ``Generator.standard_normal``; the largest value is 4.3.
    """
    from scipy.special import ndtri

    values: npt.NDArray[np.float64] = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    scaled: npt.NDArray[np.float32] = (values / values.std()).astype(np.float32)
    return scaled


def _random_bits(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint16]:
    words = rng.integers(0, 2**64, size=-(-count // 4), dtype=np.uint64)
    return words.view(np.uint16)[:count]


@settings
class GaussianNoise(IntensityTransform):
    """Add normal noise, equally strong everywhere and independent between voxels; the mean stays but for clipping."""

    name: ClassVar[str] = "gaussian_noise"

    probability: float = setting("how often it is applied", SHARE, default=0.3)
    deviation: Interval = setting("standard deviations, as a share of the range", NOT_NEGATIVE, default=(0.01, 0.08))

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        from csc_data.loader.intensity.compiled import add_noise

        deviation = draw(rng, self.deviation)
        bits = _random_bits(rng, raw.size)
        add_noise(raw.reshape(-1), bits, normal_quantiles(), np.float32(deviation**2), np.float32(0))
        return raw


@settings
class PoissonNoise(IntensityTransform):
    """Add noise as counting gives it: its variance is the intensity divided by the count that full white stands for.

    Normal noise with the variance of a Poisson distribution, which it is close to from some ten counts on.
    """

    name: ClassVar[str] = "poisson_noise"

    probability: float = setting("how often it is applied", SHARE, default=0.3)
    counts: Interval = setting("electrons that full white stands for", COUNT, default=(50.0, 1000.0))

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place. Counts are drawn so that deviations are even on a logarithmic scale."""
        from csc_data.loader.intensity.compiled import add_noise

        low, high = np.log(self.counts)
        counts = float(np.exp(draw(rng, (low, high))))
        bits = _random_bits(rng, raw.size)
        add_noise(raw.reshape(-1), bits, normal_quantiles(), np.float32(0), np.float32(1 / counts))
        return raw
