"""Seeded watershed: a mask divided among seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import import_extra
from csc_data.geometry import Triple
from csc_submit.processing.local.filters import distance_nm
from csc_submit.settings import Connectivity
from csc_submit.steps.declared import Watershed

Volume = npt.NDArray[Any]

_STEPS_TO_A_NEIGHBOUR: dict[Connectivity, int] = {6: 1, 18: 2, 26: 3}
_VERY_DEEP = 1e30  # nm, where a mask has no border in sight


def find_seeds(
    mask: npt.NDArray[np.bool_], step: Watershed, voxel_size: Triple, result_of: Callable[[str], Volume]
) -> npt.NDArray[np.bool_]:
    """Tell which voxels of a mask, shape (z, y, x), are seeds: of another class, or deep enough.

    Examples
    --------
    >>> from csc_submit.steps.declared import Watershed
    >>> mask = np.array([[[0, 1, 1, 1, 1, 0]]], bool)
    >>> find_seeds(mask, Watershed(seed_distance_nm=16.0), (8.0, 8.0, 8.0), {}.get).astype(int).tolist()
    [[[0, 0, 1, 1, 0, 0]]]
    """
    if step.seeds != "distance":
        return mask & (result_of(step.seeds) > 0)
    inner = mask if step.boundary is None else mask & ~(result_of(step.boundary) > 0)
    return distance_nm(inner, voxel_size) >= step.seed_distance_nm if inner.any() else inner


def depths(
    mask: npt.NDArray[np.bool_], step: Watershed, voxel_size: Triple, result_of: Callable[[str], Volume]
) -> npt.NDArray[Any]:
    """Return the nm from each voxel of a mask to its border, or to the class that lies between objects.

    Examples
    --------
    >>> from csc_submit.steps.declared import Watershed
    >>> depths(np.array([[[0, 1, 1, 0]]], bool), Watershed(), (8.0, 8.0, 8.0), {}.get).tolist()
    [[[0.0, 8.0, 8.0, 0.0]]]
    """
    inner = mask if step.boundary is None else mask & ~(result_of(step.boundary) > 0)
    found: npt.NDArray[Any] = np.nan_to_num(distance_nm(inner, voxel_size), posinf=_VERY_DEEP)
    return found


def flood(
    seeds: Volume, mask: npt.NDArray[np.bool_], depth: npt.NDArray[Any], connectivity: Connectivity
) -> npt.NDArray[Any]:
    """Return for each voxel of a mask the id of its seed; the largest number where no seed is reached.

    Raises
    ------
    MissingPackageError
        If scikit-image is not installed.

    Examples
    --------
    >>> mask = np.ones((1, 1, 4), bool)
    >>> flood(np.array([[[1, 0, 0, 2]]], np.uint8), mask, np.array([[[2.0, 1.0, 1.0, 2.0]]]), 26).tolist()
    [[[1, 1, 2, 2]]]
    """
    watershed = import_extra("skimage.segmentation", "a watershed", "csc-submit[watershed]").watershed
    dtype = np.dtype("u4") if seeds.dtype.itemsize < 4 else np.dtype("u8")
    neighbours = _STEPS_TO_A_NEIGHBOUR[connectivity]
    found: Volume = watershed(-depth, markers=seeds.astype(np.int64), mask=mask, connectivity=neighbours).astype(dtype)
    found[mask & (found == 0)] = np.iinfo(dtype).max
    return found
