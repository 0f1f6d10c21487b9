"""Packing one array that is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge import TestCrop
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import as_triple
from csc_eval.placing.align import align, align_probabilities, is_instance_class
from csc_eval.placing.predictions import CropGrid, Prediction
from csc_eval.rules import DEFINITION
from csc_eval.voxels.arrays import MemoryArray
from csc_submit.values import unsigned_dtype


def pack_array(
    values: npt.NDArray[Any],
    crop: TestCrop,
    class_name: str,
    *,
    voxel_size: Sequence[float],
    translation: Sequence[float],
    threshold: float | None = None,
) -> npt.NDArray[Any]:
    """Bring an array onto the grid of a test crop, as `pack_results` does for stored ones.

    Parameters
    ----------
    values : array, (z, y, x)
        A mask or ids; with a threshold, probabilities.
    crop : TestCrop
        The crop, from `csc_data.challenge.get_test_crops` or a manifest.
    class_name : str
        Decides whether these are ids, which keep their numbers, or a mask.
    voxel_size, translation : sequence of float
        nm; the translation is the centre of voxel 0.
    threshold : float, optional
        The probability above which a voxel belongs to the class.

    Returns
    -------
    array
        Of the crop's shape, in the smallest unsigned type.

    Raises
    ------
    InvalidArgumentError
        If these are not labels, or not a volume.

    Examples
    --------
    >>> crop = TestCrop(id=1, dataset="a", voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2, 2, 2), classes=())
    >>> pack_array(np.full((4, 4, 4), 98), crop, "mito", voxel_size=(4, 4, 4), translation=(2, 2, 2)).dtype
    dtype('uint8')
    """
    if values.ndim != 3:
        raise InvalidArgumentError(f"expected three axes (z, y, x), got the shape {values.shape}")
    if threshold is None and (values.dtype.kind not in "biu" or (values.size and values.min() < 0)):
        raise InvalidArgumentError(
            f"labels must be whole numbers of at least 0, got {values.dtype}; or give a threshold"
        )
    grid = CropGrid(voxel_size=crop.voxel_size, translation=crop.translation, shape=crop.shape)
    prediction = Prediction(
        voxels=MemoryArray(values if threshold is None else np.nan_to_num(values.astype(np.float32), nan=0.0)),
        voxel_size=as_triple(voxel_size, "voxel_size"),
        translation=as_triple(translation, "translation"),
    )
    if threshold is None:
        view = align(prediction, grid, instance=is_instance_class(class_name), rules=DEFINITION)
    else:
        view = align_probabilities(prediction, grid, above=threshold, rules=DEFINITION)
    placed = view.read((0, 0, 0), crop.shape)
    return placed.astype(unsigned_dtype(int(placed.max(initial=0))))
