"""Writing one array of a submission, block by block, in the smallest type that holds it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array, open_array_for_writing
from csc_data.geometry import as_shape
from csc_data.volumes import grid_attributes
from csc_eval.validating.contents import STORED_CHUNKS
from csc_eval.voxels.arrays import VoxelSource
from csc_submit.digests import files_below
from csc_submit.packing.fitting import CHUNKS, FitPlan, open_fitted, settle
from csc_submit.values import unsigned_dtype

ATTRIBUTE = "csc_packed"
"""Attribute of a packed array: what it was made from and with, and what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a packed array holds: its largest value, voxels that are not 0, and ids (None for masks)."""

    largest: int
    voxels: int
    instances: int | None


class IdCounter:
    """Counts the ids of an array that comes block by block.

    Examples
    --------
    >>> counter = IdCounter()
    >>> counter.add(np.array([0, 1, 7]))
    >>> counter.add(np.array([0, 7, 9]))
    >>> counter.count, counter.largest
    (3, 9)
    """

    _MOST_SEEN = 2**26  # ids up to here are counted by a table of bits, beyond by sorting

    def __init__(self) -> None:
        self._seen = np.zeros(1, dtype=bool)
        self._large: npt.NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self.largest = 0

    def add(self, ids: npt.NDArray[Any]) -> None:
        """Count ids; 0 is none."""
        top = int(ids.max())
        self.largest = max(self.largest, top)
        if top >= self._MOST_SEEN:
            self._large = np.union1d(self._large, np.unique(ids[ids != 0]).astype(np.uint64))
            return
        if top >= len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(max(top + 1, 2 * len(self._seen)), dtype=bool)])
        self._seen[ids] = True
        self._seen[0] = False

    @property
    def count(self) -> int:
        """How many different ids there were."""
        return len(np.union1d(np.flatnonzero(self._seen).astype(np.uint64), self._large))


def write_packed(plan: FitPlan) -> None:
    """Write an array in a hidden folder, and put it in its place when it is whole.

    Parameters
    ----------
    plan : FitPlan
        Which, and from what.

    Raises
    ------
    CscError
        If the source cannot be read, or holds what it should not.
    """
    shutil.rmtree(plan.work, ignore_errors=True)  # of a run that was killed
    plan = settle(plan)
    source = open_fitted(plan)
    unfinished = plan.work / plan.target.name
    dtype = np.dtype(f"u{source.dtype.itemsize}") if plan.instances else np.dtype("u1")
    contents = _write(source, unfinished, plan, dtype)
    smallest = unsigned_dtype(contents.largest)
    if smallest < dtype:
        # The largest id is known only now. What was written is packed well, so this costs little beside the source.
        wide = unfinished.rename(plan.work / "wide")
        _write(_Array(wide), unfinished, plan, smallest)
    entry = {"made_with": plan.fingerprint(), "voxels": contents.voxels, "instances": contents.instances}
    attributes = {**grid_attributes(plan.grid), ATTRIBUTE: entry, **stored_chunks(unfinished)}
    open_array_for_writing(unfinished).attrs.update(attributes)
    if plan.target.exists():
        shutil.rmtree(plan.target)
    unfinished.rename(plan.target)
    shutil.rmtree(plan.work)


def stored_chunks(folder: Path) -> dict[str, int]:
    """Return the attribute that tells how many chunks an array has, as those that hold nothing are not stored.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in (".zarray", "0.0.0"):
    ...         Path(folder, name).touch()
    ...     list(stored_chunks(Path(folder)).values())
    [1]
    """
    return {STORED_CHUNKS: sum(not file.name.startswith(".") for _, file in files_below(folder))}


def _write(source: VoxelSource, folder: Path, plan: FitPlan, dtype: np.dtype[Any]) -> Contents:
    target = create_array(folder, shape=plan.grid.shape, dtype=dtype, chunks=CHUNKS, labels=True)
    ids, voxels = IdCounter(), 0
    for block in plan.blocks:
        end = [b + n for b, n in zip(block.begin, block.shape, strict=True)]
        values = source.read(block.begin, end)
        count = int(np.count_nonzero(values))
        if count:  # zeros are what chunks hold that are not stored
            target[block.write] = values.astype(dtype, copy=False)
            voxels += count
            if plan.instances:
                # To look for those above 0 first is worth it where they are few.
                few = 2 * count < values.size or values.dtype == bool
                ids.add(values[values != 0].astype(dtype, copy=False) if few else values)
    return Contents(
        largest=ids.largest if plan.instances else 1, voxels=voxels, instances=ids.count if plan.instances else None
    )


class _Array:
    """A stored array as a source of voxels."""

    order: Literal["C", "F"] = "C"

    def __init__(self, folder: Path) -> None:
        self.array = open_array(folder)
        self.shape, self.chunks = as_shape(self.array.shape), as_shape(self.array.chunks)
        self.dtype = self.array.dtype

    def read(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any]:
        """Return the voxels of a box."""
        return self.array.read_box(begin, end)
