"""What all intensity transforms have in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import SHARE, setting, settings

Raw = npt.NDArray[np.float32]


@settings
class IntensityTransform(abc.ABC):
    """A change of raw intensities that comes about with a probability.

    Raw is float32 from 0 to 1, shape (z, y, x), C-contiguous; so is the result. The array that goes in may be
    changed in place: use what is returned.

    Raises
    ------
    ProblemsError
        When made with options of the wrong kind, out of their limits, or a range whose first number is the larger.
    """

    name: ClassVar[str]

    probability: float = setting("how often it is applied", SHARE, default=0.5)

    def apply(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw with the transform's probability.

        Parameters
        ----------
        raw : ndarray
            float32 from 0 to 1, shape (z, y, x); may be changed in place.
        rng : Generator
            Decides whether, and how much.
        voxel_size : sequence of float
            nm, z, y, x.

        Returns
        -------
        ndarray
            float32 from 0 to 1, of the same shape.
        """
        prepared = np.ascontiguousarray(raw, dtype=np.float32)
        return self.change(prepared, rng, voxel_size) if rng.random() < self.probability else prepared

    @abc.abstractmethod
    def change(self, raw: Raw, rng: np.random.Generator, voxel_size: Sequence[float]) -> Raw:
        """Change raw for certain; see `apply`."""


def draw(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number evenly from low to high.

    Examples
    --------
    >>> draw(np.random.default_rng(0), (2.0, 2.0))
    2.0
    """
    return float(limits[0] + (limits[1] - limits[0]) * rng.random())
