"""Gamma, contrast and brightness: transforms that map each intensity by itself, composed into one curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import NOT_NEGATIVE, POSITIVE, Interval, Limits, setting, settings
from csc_data.loader.intensity.noise import Noise
from csc_data.loader.intensity.transform import IntensityTransform, Raw, draw
from csc_data.loader.intensity.voxel_loops import bend

LEVELS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What becomes of an intensity v: ``(v ** gamma - m) * contrast + m + brightness``, clipped to 0 to 1.

    m is the mean of ``v ** gamma`` over the patch, so contrast alone keeps the mean of a patch, as long as nothing is
    clipped; gamma keeps 0 and 1, and the order of intensities.

    Examples
    --------
    >>> raw = np.array([[[0.0, 0.5, 1.0]]], np.float32)
    >>> Curve(gamma=2.0).map(raw).round(3).tolist()
    [[[0.0, 0.25, 1.0]]]
    >>> Curve(contrast=0.5, brightness=0.25).offset(0.5)
    0.5
    """

    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether it leaves everything as it is."""
        return self == Curve()

    def map(self, raw: Raw, noise: Noise | None = None) -> Raw:
        """Map raw (float32, 0 to 1) in place and return it; with noise that comes right after, in the same pass."""
        if self.is_identity and noise is None:
            return raw
        gamma, mean = self.gamma, 0.0
        if self.contrast != 1:
            gamma, mean = 1.0, bend(raw.reshape(-1), self.gamma)
        return (noise or Noise()).add(raw, (gamma, self.contrast, self.offset(mean)))

    def table(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what becomes of each of the 256 values of uint8 raw, of which 255 stands for 1.

        Parameters
        ----------
        values : ndarray
            The patch: contrast needs its mean.

        Returns
        -------
        ndarray
            float32, shape (256,); ``table[values]`` is what `map` makes of ``values / 255``.

        Examples
        --------
        >>> table = Curve(brightness=0.5).table(np.zeros(8, np.uint8))
        >>> table.shape, table[[0, 255]].tolist()
        ((256,), [0.5, 1.0])
        """
        table = np.linspace(0, 1, LEVELS, dtype=np.float32)
        if self.is_identity:
            return table
        bend(table, self.gamma)
        mean = 0.0
        if self.contrast != 1 and values.size:
            counts = np.bincount(values.reshape(-1), minlength=LEVELS)
            mean = float(counts @ table.astype(np.float64)) / values.size
        return Noise().add(table, (1.0, self.contrast, self.offset(mean)))

    def offset(self, mean: Any) -> Any:
        """Return what is added to an intensity times the contrast, for a mean of the patch, a number or a tensor."""
        return mean * (1 - self.contrast) + self.brightness


@settings
class Gamma(IntensityTransform):
    """Raise intensities to a power: above 1 darkens, below 1 brightens; 0, 1 and the order of intensities stay.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> 0.7 <= Gamma(range=(0.7, 1.5)).draw_exponent(rng) <= 1.5
    True
    """

    name: ClassVar[str] = "gamma"

    range: Interval = setting("exponents, drawn evenly on a logarithmic scale", POSITIVE, default=(0.7, 1.5))

    def draw_exponent(self, rng: np.random.Generator) -> float:
        """Draw an exponent; 1/2 and 2 are as likely as each other."""
        low, high = np.log(self.range)
        return float(np.exp(draw(rng, (low, high))))

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        return Curve(gamma=self.draw_exponent(rng)).map(raw)


@settings
class Contrast(IntensityTransform):
    """Stretch intensities about the mean of the patch, which stays where nothing is clipped.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Contrast(range=(0.9, 0.9)).draw_factor(rng)
    0.9
    """

    name: ClassVar[str] = "contrast"

    range: Interval = setting("factors; 1 changes nothing, 0 gives flat grey", NOT_NEGATIVE, default=(0.7, 1.3))

    def draw_factor(self, rng: np.random.Generator) -> float:
        """Draw a factor."""
        return draw(rng, self.range)

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        return Curve(contrast=self.draw_factor(rng)).map(raw)


@settings
class Brightness(IntensityTransform):
    """Add a number to all intensities.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Brightness(range=(0.1, 0.1)).draw_offset(rng)
    0.1
    """

    name: ClassVar[str] = "brightness"

    range: Interval = setting("what is added, as a share of the range", Limits(ge=-1, le=1), default=(-0.15, 0.15))

    def draw_offset(self, rng: np.random.Generator) -> float:
        """Draw an offset."""
        return draw(rng, self.range)

    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; in place."""
        return Curve(brightness=self.draw_offset(rng)).map(raw)
