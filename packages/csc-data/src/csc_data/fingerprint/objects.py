"""Sizes of what is in an array of labels: pure functions on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from csc_data.geometry import Triple

_ALL_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_MOST_OF = 95.0  # percent of the voxels


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredObjects:
    """Volumes in nm^3 of the objects of an array, shape (n,), and whether each is cut off by its border."""

    volume_nm3: npt.NDArray[np.float64]
    is_cut: npt.NDArray[np.bool_]


def measure_objects(labels: npt.NDArray[Any], voxel_size: Triple) -> MeasuredObjects:
    """Measure the objects of an array, shape (z, y, x); 0 is background.

    Values are ids where there are several; a mask is divided into its connected components (26 neighbours).

    >>> measure_objects(np.array([[[1, 0, 1, 1]]]), (8, 8, 8)).volume_nm3.tolist()
    [512.0, 1024.0]
    """
    numbers = _number(labels)
    counts = np.bincount(numbers.reshape(-1))
    is_cut = np.zeros(len(counts), dtype=bool)
    for axis in range(3):
        for side in (0, -1):
            is_cut[np.take(numbers, side, axis=axis)] = True
    there = counts > 0
    there[0] = False  # background
    volume = counts[there].astype(np.float64) * math.prod(voxel_size)
    return MeasuredObjects(volume, is_cut[there])


def _number(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Number the objects of an array from 1."""
    if labels.dtype != bool:
        ids, numbers = np.unique(labels, return_inverse=True)
        without_background = ids[0] != 0
        if len(ids) + without_background > 2:
            numbered: npt.NDArray[Any] = numbers.reshape(labels.shape) + without_background
            return numbered
    components: npt.NDArray[Any] = ndimage.label(labels != 0, structure=_ALL_NEIGHBOURS)[0]
    return components


def diameters_nm(volume_nm3: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the diameters of balls of these volumes.

    >>> diameters_nm(np.array([4 / 3 * np.pi * 50**3])).round(6).tolist()
    [100.0]
    """
    return np.cbrt(6 * volume_nm3 / np.pi)


def bulk_volume_nm3(volume_nm3: npt.NDArray[np.float64]) -> float:
    """Return the volume of the object that, together with all smaller ones, makes half of the whole; 0 of none.

    >>> bulk_volume_nm3(np.array([1.0, 1.0, 1.0, 10.0]))
    10.0
    """
    rising = np.sort(volume_nm3)
    half = np.searchsorted(np.cumsum(rising), rising.sum() / 2)
    return float(rising[half]) if len(rising) else 0.0


def measure_thickness(mask: npt.NDArray[np.bool_], voxel_size: Triple) -> float | None:
    """Return how thick most of a mask is, in nm: twice the 95th percentile of the distance to its surface.

    Distances are measured from centres of voxels to the faces of those outside, so a sheet of one voxel is as thick as
    it. The array's border is not a surface. None where the mask is empty or has no surface.

    >>> sheet = np.zeros((9, 9, 9), dtype=bool)
    >>> sheet[3:6] = True
    >>> measure_thickness(sheet, (8, 8, 8))
    24.0
    """
    if not mask.any() or mask.all():
        return None
    distances = ndimage.distance_transform_edt(mask, sampling=voxel_size)[mask] - min(voxel_size) / 2
    return 2 * float(np.percentile(distances, _MOST_OF))
