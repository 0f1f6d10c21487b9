"""Four microscopes: how each makes an image of a specimen, with what goes wrong in it.

A source stands beside each figure that has one; the others are guesses, and said to be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.errors import InvalidArgumentError, did_you_mean
from csc_data.geometry import Shape
from csc_data.synthetic.specimen.boxes import Box, Field
from csc_data.synthetic.specimen.noise import SmoothNoise, derive, hash_places, normal, unit

_TRUNCATE = 3.0
_MEAN, _SPREAD = 148.0, 34.0
"""Mean and standard deviation of what is drawn in cytoplasm: what `Microscope.mean` and ``contrast`` become."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Microscope:
    """What a microscope makes of brightness. Slices are z; the ion beam comes along y.

    Attributes
    ----------
    name : str
    mean, contrast : float
        Mean grey value, and its standard deviation that comes from the specimen, 0 to 255.
    blur_nm : (float, float)
        Standard deviation of the point spread, along z and in a slice.
    noise : float
        Standard deviation of the noise at the mean; it grows with the square root of the signal.
    flicker : float
        Changes of brightness from slice to slice, grey values.
    curtains : float
        Strength of stripes along the ion beam, grey values.
    charging : float
        Strength of bright streaks along the scan, grey values.
    uneven : float
        Slow changes of brightness over a slice, grey values.
    missing, repeated : float
        Share of slices that are black, or the same image as the one before.
    """

    name: str
    mean: float
    contrast: float
    blur_nm: tuple[float, float]
    noise: float
    flicker: float = 1.0
    curtains: float = 0.0
    charging: float = 0.0
    uneven: float = 2.0
    missing: float = 0.0
    repeated: float = 0.0

    def margin(self, box: Box) -> Shape:
        """Return how many voxels around a box it needs."""
        size = box.voxel_size
        z, y, x = (
            int(_TRUNCATE * blur / v + 0.5)
            for blur, v in zip((self.blur_nm[0], *2 * self.blur_nm[1:]), size, strict=True)
        )
        return z + 1, y, x  # a repeated slice is that before it

    def image(self, grey: Field, box: Box, key: int) -> npt.NDArray[np.uint8]:
        """Return the image of a box.

        Parameters
        ----------
        grey : numpy.ndarray of float32
            Brightness of the box with its margin.
        box : Box
        key : int
            For what is random.
        """
        margin = self.margin(box)
        sigma = [blur / v for blur, v in zip((self.blur_nm[0], *2 * self.blur_nm[1:]), box.voxel_size, strict=True)]
        blurred = ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=_TRUNCATE)
        # One slice more before the first.
        seen = box.grown((0, 0, 0)) if margin[0] == 0 else _one_before(box)
        inner = blurred[
            margin[0] - 1 : grey.shape[0] - margin[0],
            margin[1] : grey.shape[1] - margin[1],
            margin[2] : grey.shape[2] - margin[2],
        ]
        signal = (inner - np.float32(_MEAN)) * np.float32(self.contrast / _SPREAD) + np.float32(self.mean)
        signal += self._artefacts(seen, key)
        z, y, x = (np.arange(b, b + n) for b, n in zip(seen.begin, seen.shape, strict=True))
        strength = np.sqrt(np.clip(signal, 4, None) * np.float32(1 / self.mean)) * np.float32(self.noise)
        signal += normal(hash_places(derive(key, 1), z, y, x)) * strength
        image = np.clip(np.rint(signal), 1, 255).astype(np.uint8)
        return self._slices(image, z, key)

    def _slices(self, image: npt.NDArray[np.uint8], z: npt.NDArray[np.int64], key: int) -> npt.NDArray[np.uint8]:
        lots = [float(lot) for lot in unit(hash_places(derive(key, 2), z, np.zeros(1, int), np.zeros(1, int))).ravel()]
        result = image[1:].copy()
        for number, lot in enumerate(lots[1:]):
            if lot < self.missing:
                result[number] = 0
            elif lot < self.missing + self.repeated:
                result[number] = image[number]
        return result

    def _artefacts(self, box: Box, key: int) -> Field:
        """Return what is added to brightness, voxel by voxel."""
        size = np.array(box.voxel_size)
        axes = box.axes
        z = np.arange(box.begin[0], box.begin[0] + box.shape[0])
        lots = normal(hash_places(derive(key, 3), z, np.zeros(1, int), np.zeros(1, int)))
        added = np.zeros(box.shape, np.float32) + np.float32(self.flicker) * lots
        if self.uneven:
            added += np.float32(self.uneven) * SmoothNoise(derive(key, 4), 2500.0).on(axes)
        if self.curtains:
            # A stripe is as wide as what the beam was held up by, and goes on for some slices, fading along y.
            flat = (axes[0], np.zeros(1), axes[2])
            stripes = SmoothNoise(derive(key, 5), 60.0).on(flat) + SmoothNoise(derive(key, 6), 24.0).on(flat)
            fading = np.clip(SmoothNoise(derive(key, 7), 1500.0).on(axes) + np.float32(0.6), 0, 2)
            added += np.float32(self.curtains * 0.7) * stripes * fading
        if self.charging:
            spots = np.clip(SmoothNoise(derive(key, 8), 900.0).on(axes) - np.float32(0.9), 0, 2)
            # Lines of a scan differ, as charge flows off between them.
            y = np.arange(box.begin[1], box.begin[1] + box.shape[1])
            lines = normal(hash_places(derive(key, 9), z, y, np.zeros(1, int)))
            slices = SmoothNoise(derive(key, 10), 3.0 * float(size[0])).on((axes[0], np.zeros(1), np.zeros(1)))
            added += np.float32(self.charging) * spots * (1 + np.float32(0.35) * lines + np.float32(0.5) * slices)
        return added


def _one_before(box: Box) -> Box:
    z, y, x = box.begin
    return dataclasses.replace(box, begin=(z - 1, y, x), shape=(box.shape[0] + 1, *box.shape[1:]))


MICROSCOPES: Mapping[str, Microscope] = MappingProxyType(
    {
        scope.name: scope
        for scope in (
            # Enhanced FIB-SEM (Xu et al. 2017, eLife 6:e25916): isotropic 4 or 8 nm, stable for months, so that slices
            # neither flicker nor are lost. Grey values: jrc_hela-2, -3, jrc_macrophage-2 and jrc_jurkat-1 are shown
            # between 18000 and 32000 of 65535 (contrast limits in lists of these data), 70 to 125 of 255.
            Microscope(
                name="enhanced-fibsem", mean=100.0, contrast=9.5, blur_nm=(3.5, 3.5), noise=2.6, flicker=0.4, uneven=0.8
            ),
            # A commercial FIB-SEM: stripes of the ion beam ("curtaining": Schwartz et al. 2019, Microsc Microanal 25),
            # drift and lost slices after interruptions. How strong is a guess.
            Microscope(
                name="fibsem", mean=138.0, contrast=26.0, blur_nm=(5.0, 5.0), noise=14.0, flicker=3.0, curtains=7.0,
                charging=6.0, uneven=5.0, missing=0.004, repeated=0.004,
            ),
            # Serial block-face SEM: in a slice 5 to 10 nm, along z 25 nm at best (PMC6113311); the
            # block charges (Deerinck et al. 2018, J Microsc 270:142). How strong is a guess.
            Microscope(
                name="sbfsem", mean=150.0, contrast=30.0, blur_nm=(12.0, 7.0), noise=20.0, flicker=4.0, charging=16.0,
                uneven=6.0, missing=0.002, repeated=0.002,
            ),
            # Serial sections in a transmission microscope: strong contrast and little noise in a section of 40 nm,
            # sections of unequal brightness, lost ones (Zheng et al. 2018, Cell 174:730); how many: a guess.
            Microscope(
                name="sstem", mean=158.0, contrast=38.0, blur_nm=(14.0, 3.0), noise=9.0, flicker=9.0, uneven=7.0,
                missing=0.012, repeated=0.0,
            ),
        )
    }
)  # fmt: skip
"""By name."""


def get_microscope(name: str) -> Microscope:
    """Return a microscope.

    Raises
    ------
    InvalidArgumentError
        With the nearest name that there is.

    Examples
    --------
    >>> get_microscope("sbfsem").blur_nm
    (12.0, 7.0)
    """
    try:
        return MICROSCOPES[name]
    except KeyError:
        hint = did_you_mean(name, MICROSCOPES)
        raise InvalidArgumentError(f"there is no microscope {name!r}; {hint}") from None
