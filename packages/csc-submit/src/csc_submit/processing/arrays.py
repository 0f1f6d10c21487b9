"""Post-processing of an array in memory: what `csc_submit.process` writes for a prediction, in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import as_triple
from csc_data.volumes.stored_values import StoredValues
from csc_submit.processing.components import ids_around, label_components
from csc_submit.processing.local_steps import LocalSteps
from csc_submit.processing.own_step import own_step
from csc_submit.processing.planning import check_options
from csc_submit.settings import Connectivity, ProcessSettings
from csc_submit.values import Meaning, unsigned_dtype

Volume = npt.NDArray[Any]


def process_array(
    values: Volume,
    class_name: str,
    settings: ProcessSettings,
    *,
    voxel_size: Sequence[float],
    stored: StoredValues | None = None,
) -> Volume:
    """Post-process one class of one volume.

    The result is, voxel for voxel, what `csc_submit.process` writes for a file of these values, if it works on it as
    one block; only a ``process_func`` can tell that from several. Memory is about 60 bytes per voxel.

    Parameters
    ----------
    values : ndarray
        Shape (z, y, x).
    class_name : str
        Decides which of the settings hold.
    settings : ProcessSettings
    voxel_size : sequence of float
        nm, z, y, x.
    stored : StoredValues, optional
        What the values are; probabilities from 0 to 1 by default.

    Returns
    -------
    ndarray
        A mask of 0 and 1, uint8; for instance classes ids from 1 on, in the smallest unsigned type that holds them.

    Raises
    ------
    InvalidArgumentError
        If there are not three axes, or what is asked makes no sense for such values.
    MeaningUnknownError
        If the values cannot be what they are taken for.

    Examples
    --------
    >>> values = np.array([[[0.9, 0.2, 0.7]]], dtype="f4")
    >>> process_array(values, "mito", ProcessSettings(), voxel_size=(8, 8, 8)).tolist()
    [[[1, 0, 2]]]
    """
    if values.ndim != 3:
        raise InvalidArgumentError(f"values must have the axes z, y, x, got an array of shape {values.shape}")
    meaning = Meaning(values=stored or StoredValues(kind="probability"), assumed=False)
    options, nm = settings.for_class(class_name), as_triple(voxel_size, "voxel_size")
    check_options(options, meaning)
    steps = LocalSteps(meaning=meaning, voxel_size=nm, options=options, own=own_step(settings), alone=True)
    mask = steps.apply(values).astype(steps.stored_dtype(values.dtype))
    if options.fill_holes:
        mask = _fill(mask, options.connectivity)
    if options.finds_objects(nm):
        mask = _objects(mask, options.connectivity, options.smallest_object(nm), numbered=options.instances)
    return mask


def _fill(mask: Volume, connectivity: Connectivity) -> Volume:
    """Make background that does not reach the border part of the class."""
    labels = label_components(mask, connectivity, background=True)
    outer = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    outer[0] = True
    for axis in range(3):
        outer[np.take(labels, [0, -1], axis)] = True
    lowest, highest = ids_around(labels, mask, len(outer) - 1)
    around = np.zeros(len(outer), dtype=mask.dtype)
    around[1:] = np.where(outer[1:] | (lowest != highest), 0, highest)
    return np.where(labels > 0, around[labels], mask)


def _objects(mask: Volume, connectivity: Connectivity, smallest: int, *, numbered: bool) -> Volume:
    """Remove small objects, and number the others by their first voxels in the order z, y, x."""
    labels = label_components(mask, connectivity)
    count = int(labels.max(initial=0))
    stays = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    stays[0] = False
    if not numbered:
        return stays[labels].astype(np.uint8)
    first = np.full(count + 1, labels.size, dtype=np.int64)
    places = np.flatnonzero(labels)[::-1]
    first[labels.ravel()[places]] = places  # the last one written, the first voxel, stays
    order = np.argsort(first[1:]) + 1
    kept = order[stays[order]]
    ids = np.zeros(count + 1, dtype=unsigned_dtype(len(kept)))
    ids[kept] = np.arange(1, len(kept) + 1)
    return ids[labels]
