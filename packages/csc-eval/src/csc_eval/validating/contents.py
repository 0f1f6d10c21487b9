"""What the voxels of a label hold, in one pass over its chunks, and what is odd about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csc_eval.instances.components import label_components
from csc_eval.placing.align import is_instance_class
from csc_eval.validating.findings import Finding, found
from csc_eval.voxels.arrays import Array, StoredArray
from csc_eval.voxels.boxes import iterate_boxes
from csc_eval.voxels.runs import TooFragmentedError, encode_runs

FILLING = frozenset(
    {"cell", "cyto", "ecs", "nuc", "nucpl", "chrom", "hchrom", "nhchrom", "echrom", "nechrom", "er", "mito", "mito_lum"}
)
"""Classes that may fill a crop."""

NEARLY_ALL = 0.9

MANY_IDS = 20_000
"""More objects than any test crop's truth has in a class, by a factor that the portal would not match."""

STORED_CHUNKS = "csc_stored_chunks"
"""Attribute of an array that was packed without the chunks that hold nothing: how many it has."""

_KEPT = 4096  # distinct values of a semantic class that are told apart
_FEWEST_GREYS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an array holds.

    Attributes
    ----------
    size, voxels : int
        All voxels, and those that are not 0.
    ids : int
        How many different values that are not 0; semantic classes are counted up to a few thousand.
    lowest, largest : float
    whole, finite : bool
        Whether all values are whole numbers, and finite.
    dtype : numpy.dtype
    pieces : int
        Connected components, counted where there is one id only; else 0.
    missing_chunks : int
        How many chunks are not stored that should be.
    """

    size: int
    voxels: int
    ids: int
    lowest: float
    largest: float
    whole: bool
    finite: bool
    dtype: np.dtype[np.generic]
    pieces: int
    missing_chunks: int


def read_contents(array: StoredArray, *, instance: bool, stored_chunks: int | None = None) -> Contents:
    """Look at every voxel of an array, a chunk at a time.

    Parameters
    ----------
    array : StoredArray
    instance : bool
        Whether it holds ids.
    stored_chunks : int, optional
        How many chunks it says that it has; all by default.

    Raises
    ------
    UnreadableDataError
        If a chunk is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> from csc_eval.voxels.arrays import open_stored
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_array(f"{folder}/er", shape=(4, 4, 4), dtype="f4", chunks=(4, 4, 4))[0, 0, :2] = 0.25
    ...     contents = read_contents(open_stored(open_place(folder), "er")[0], instance=False)
    ...     print(contents.voxels, contents.largest, contents.whole)
    2 0.25 False
    """
    voxels, lowest, largest, whole, finite = 0, 0.0, 0.0, True, True
    values: npt.NDArray[np.generic] = np.zeros(0, array.dtype)
    for begin, end in iterate_boxes(array):
        box = array.take(begin, end)
        if box is None:
            continue
        present = box[box != 0]
        voxels += present.size
        if not present.size:
            continue
        if array.dtype.kind == "f":
            kept = present[np.isfinite(present)]
            finite &= kept.size == present.size
            whole &= bool(np.all(kept == np.rint(kept)))
            present = kept
        if present.size:
            lowest, largest = min(lowest, float(present.min())), max(largest, float(present.max()))
            if instance or values.size < _KEPT:
                values = np.union1d(values, _distinct(present))
    pieces = 0
    if instance and values.size == 1 and finite:
        try:
            pieces = label_components(encode_runs(array)).count
        except TooFragmentedError:
            pieces = MANY_IDS + 1
    stored, total = array.count_chunks()
    return Contents(
        size=math.prod(array.shape),
        voxels=voxels,
        ids=int(values.size),
        lowest=lowest,
        largest=largest,
        whole=whole,
        finite=finite,
        dtype=array.dtype,
        pieces=pieces,
        missing_chunks=max(0, (total if stored_chunks is None else stored_chunks) - stored),
    )


def _distinct(values: Array) -> Array:
    if values.dtype == np.uint8:  # most masks: counting is twenty times faster than sorting
        return np.flatnonzero(np.bincount(values, minlength=256)).astype(np.uint8)
    return np.unique(values)


def find_content_faults(contents: Contents, where: str, class_name: str) -> list[Finding]:
    """Name what is odd about what a label holds."""
    instance = is_instance_class(class_name)
    share = contents.voxels / contents.size
    faults = []
    if not contents.finite:
        faults.append(found("not_a_number", where))
    elif contents.lowest < 0 and contents.whole:
        faults.append(found("negative", where, f"down to {contents.lowest:g}"))
    elif not contents.whole or _is_grey(contents, instance):
        return [found("probabilities", where, f"{contents.dtype} up to {contents.largest:g}")]
    elif contents.dtype.kind == "f":
        faults.append(found("float_labels", where, str(contents.dtype)))
    if not contents.voxels:
        return [*faults, found("empty", where)]
    if contents.missing_chunks:
        faults.append(found("missing_chunks", where, f"{contents.missing_chunks}"))
    if instance:
        return faults + _faults_of_ids(contents, where)
    if contents.ids > 1:
        faults.append(found("ids_in_mask", where, f"{contents.ids} different numbers"))
    if share == 1 and class_name not in FILLING:
        faults.append(found("full", where))
    elif share > NEARLY_ALL and class_name not in FILLING:
        faults.append(found("inverted", where, f"{share:.1%} of the voxels"))
    return faults


def _faults_of_ids(contents: Contents, where: str) -> list[Finding]:
    count = max(contents.ids, contents.pieces)
    if count > MANY_IDS:
        return [found("many_ids", where, f"{count}")]
    if contents.voxels == contents.size and contents.ids == 1:
        return [found("full", where)]
    if contents.pieces > 1:
        return [found("one_id", where, f"{contents.pieces} pieces")]
    return []


def _is_grey(contents: Contents, instance: bool) -> bool:
    """Tell whether whole numbers are probabilities that were packed into bytes."""
    return not instance and contents.dtype == np.uint8 and contents.ids >= _FEWEST_GREYS and contents.largest > 200
