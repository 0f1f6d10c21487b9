"""Packing one array that is in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import TestCrop
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_eval.placing.align import align, align_probabilities, is_instance_class
from csc_eval.placing.predictions import CropGrid, Prediction
from csc_eval.rules import DEFINITION
from csc_eval.voxels.arrays import MemoryArray
from csc_submit.values import unsigned_dtype


def pack_array(
    values: npt.NDArray[Any], grid: Grid, crop: TestCrop, class_name: str, *, threshold: float | None = None
) -> npt.NDArray[Any]:
    """Bring an array onto the grid of a test crop, as `pack_results` does for stored ones.

    Parameters
    ----------
    values : array, (z, y, x)
        A mask or ids; with a threshold, probabilities.
    grid : Grid
        Where its voxels lie.
    crop : TestCrop
        The crop, from `csc_data.challenge.get_test_crops` or a manifest.
    class_name : str
        Decides whether these are ids, which keep their numbers, or a mask.
    threshold : float, optional
        The probability above which a voxel belongs to the class.

    Returns
    -------
    array
        Of the crop's shape, in the smallest unsigned type.

    Raises
    ------
    InvalidArgumentError
        If these are not labels, or their shape is not that of the grid.

    Examples
    --------
    >>> crop = TestCrop(id=1, dataset="a", voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2, 2, 2), classes=())
    >>> grid = Grid(voxel_size=(4, 4, 4), translation=(2, 2, 2), shape=(4, 4, 4))
    >>> pack_array(np.full((4, 4, 4), 98), grid, crop, "mito").dtype
    dtype('uint8')
    """
    if values.shape != grid.shape:
        raise InvalidArgumentError(f"the array has the shape {values.shape}, its grid {grid.shape}")
    if threshold is None and (values.dtype.kind not in "biu" or (values.size and values.min() < 0)):
        raise InvalidArgumentError(
            f"labels must be whole numbers of at least 0, got {values.dtype}; or give a threshold"
        )
    target = CropGrid(voxel_size=crop.voxel_size, translation=crop.translation, shape=crop.shape)
    prediction = Prediction(
        voxels=MemoryArray(values if threshold is None else np.nan_to_num(values.astype(np.float32), nan=0.0)),
        voxel_size=grid.voxel_size,
        translation=grid.translation,
    )
    if threshold is None:
        view = align(prediction, target, instance=is_instance_class(class_name), rules=DEFINITION)
    else:
        view = align_probabilities(prediction, target, above=threshold, rules=DEFINITION)
    placed = view.read((0, 0, 0), crop.shape)
    return placed.astype(unsigned_dtype(int(placed.max(initial=0))))
