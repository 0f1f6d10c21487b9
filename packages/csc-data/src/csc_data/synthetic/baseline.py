"""What brightness alone achieves: the best band of grey values for each class, with and without blurring first.

A model that is worth its training must beat this by far. Bands are chosen by the intersection over union that they
reach on given images, so choosing them on the test images themselves gives an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.errors import InvalidArgumentError

SIGMAS_NM = (0.0, 8.0, 16.0, 32.0)

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A class predicted where the blurred image lies in a range of grey values.

    Attributes
    ----------
    low, high : int
        Least and largest grey value, both included.
    sigma_nm : float
        Standard deviation of the Gaussian blur; 0 for no blur.
    iou : float
        Intersection over union on the images that it was chosen on.
    """

    low: int
    high: int
    sigma_nm: float
    iou: float

    def predict(self, raw: Image, voxel_size: Sequence[float]) -> Mask:
        """Return where the class is predicted."""
        grey = blur(raw, self.sigma_nm, voxel_size)
        inside: Mask = (grey >= self.low) & (grey <= self.high)
        return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """An image with the classes known in it.

    Attributes
    ----------
    raw : numpy.ndarray of uint8
        Grey values, z, y, x.
    voxel_size : tuple of float
        nm.
    labels : mapping of str to numpy.ndarray
        Class to an array of the image's shape, above 0 where the class is; only classes that were annotated.
    """

    raw: Image
    voxel_size: tuple[float, float, float]
    labels: Mapping[str, npt.NDArray[Any]]


def blur(raw: Image, sigma_nm: float, voxel_size: Sequence[float]) -> Image:
    """Return the image after a Gaussian blur, rounded to whole grey values."""
    if sigma_nm == 0:
        return raw
    sigma = [sigma_nm / v for v in voxel_size]
    smooth = ndimage.gaussian_filter(raw, sigma, output=np.float32, mode="nearest", truncate=3.0)
    rounded: Image = np.rint(smooth).astype(np.uint8)
    return rounded


def choose_bands(
    images: Iterable[AnnotatedImage], class_names: Sequence[str], *, sigmas_nm: Sequence[float] = SIGMAS_NM
) -> dict[str, Band]:
    """Find the best band of each class over all images together.

    Parameters
    ----------
    images : iterable of AnnotatedImage
        Images that lack a class do not count for it.
    class_names : sequence of str
        The classes.
    sigmas_nm : sequence of float
        The blurs to try.

    Returns
    -------
    dict of str to Band
        The band with the largest intersection over union, of all pairs of bounds and all blurs.

    Raises
    ------
    InvalidArgumentError
        If a class is in none of the images.
    """
    # Grey values of voxels with and without the class, by class and blur, are all that is needed.
    counts = {(name, sigma): np.zeros((2, 256), np.int64) for name in class_names for sigma in sigmas_nm}
    for image in images:
        for sigma in sigmas_nm:
            grey = blur(image.raw, sigma, image.voxel_size)
            everywhere = np.bincount(grey.ravel(), minlength=256)
            for name in class_names:
                if name in image.labels:
                    present = np.bincount(grey[image.labels[name] > 0], minlength=256)
                    counts[name, sigma] += np.stack([present, everywhere - present])
    missing = [name for name in class_names if not any(counts[name, sigma][0].any() for sigma in sigmas_nm)]
    if missing:
        raise InvalidArgumentError(f"no image has {', '.join(missing)}; leave them out or give images that have them")
    return {
        name: max((_best_band(counts[name, sigma], sigma) for sigma in sigmas_nm), key=lambda band: band.iou)
        for name in class_names
    }


def _best_band(counts: npt.NDArray[np.int64], sigma_nm: float) -> Band:
    """Return the best of all 32,896 bands for histograms of present (row 0) and absent (row 1) voxels."""
    below = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
    # hits[low, high] counts the voxels with low <= grey <= high.
    hits, alarms = (row[None, 1:] - row[:-1, None] for row in below)
    iou = np.where(hits > 0, hits / np.maximum(below[0, -1] + alarms, 1), 0.0)
    iou[np.tril_indices(256, -1)] = 0.0
    low, high = np.unravel_index(int(np.argmax(iou)), iou.shape)
    return Band(low=int(low), high=int(high), sigma_nm=float(sigma_nm), iou=float(iou[low, high]))


def predict_bands(
    raw: Image, voxel_size: Sequence[float], bands: Mapping[str, Band]
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return 0 or 1 per voxel for each class; connected components of instance classes are left to the scorer."""
    return {name: band.predict(raw, voxel_size).astype(np.uint8) for name, band in bands.items()}
