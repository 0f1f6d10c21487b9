"""The filters of local steps.

At the border of the volume there is no context: smoothing repeats the outermost values, and nothing beyond counts
as background, so that an object that is cut by the border is not eroded there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.geometry import Triple
from csc_submit.steps.declared import TRUNCATE


def smooth(values: npt.NDArray[np.float32], sigma_nm: float, voxel_size: Triple) -> npt.NDArray[np.float32]:
    """Return the values, shape (z, y, x), under a Gaussian of a sigma in nm, cut off at three sigmas.

    Examples
    --------
    >>> smooth(np.array([[[0, 0, 1, 0, 0]]], np.float32), 8.0, (8.0, 8.0, 8.0)).round(1).tolist()[0][0][2] < 1
    True
    """
    if not sigma_nm:
        return values
    sigma = [sigma_nm / v for v in voxel_size]
    smoothed: npt.NDArray[np.float32] = ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=TRUNCATE)
    return smoothed


def open_mask(mask: npt.NDArray[np.bool_], radius_nm: float, voxel_size: Triple) -> npt.NDArray[np.bool_]:
    """Return the mask, shape (z, y, x), without the parts into which a ball of a radius in nm does not fit.

    Opening is an erosion and a dilation (Serra, Image Analysis and Mathematical Morphology, 1982), here by exact
    Euclidean distances, so that the ball is round in nm whatever the voxel size.

    Examples
    --------
    >>> open_mask(np.ones((1, 1, 5), dtype=bool), 8.0, (8.0, 8.0, 8.0)).tolist()
    [[[True, True, True, True, True]]]
    """
    if not radius_nm or not mask.any():
        return mask
    core = distance_nm(mask, voxel_size) > radius_nm
    return distance_nm(~core, voxel_size) <= radius_nm


def close_mask(mask: npt.NDArray[np.bool_], radius_nm: float, voxel_size: Triple) -> npt.NDArray[np.bool_]:
    """Return the mask, shape (z, y, x), with all outside that a ball of a radius in nm outside does not reach.

    Beyond the volume there is neither mask nor outside.

    Examples
    --------
    >>> close_mask(np.array([[[True, False, True, False, False, False]]]), 8.0, (8.0, 8.0, 8.0)).astype(int).tolist()
    [[[1, 1, 1, 0, 0, 0]]]
    """
    if not radius_nm or not mask.any():
        return mask
    grown = distance_nm(~mask, voxel_size) <= radius_nm
    return distance_nm(grown, voxel_size) > radius_nm


def distance_nm(mask: npt.NDArray[np.bool_], voxel_size: Triple) -> npt.NDArray[Any]:
    """Return the nm from each voxel of a mask to the nearest voxel outside; infinite if there is none.

    Examples
    --------
    >>> distance_nm(np.array([[[False, True, True, True]]]), (8.0, 8.0, 4.0)).tolist()
    [[[0.0, 4.0, 8.0, 12.0]]]
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    distances: npt.NDArray[Any] = ndimage.distance_transform_edt(mask, sampling=voxel_size)
    return distances
