"""Checking a submission before it is sent in, or after it came in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid, align_block_shape
from csc_data.challenge import TestCrop, get_instance_classes
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.user_config import Config
from csc_data.errors import CscError, Problem
from csc_data.geometry import TOLERANCE
from csc_data.storage.stores.zips import UnsafeArchiveError
from csc_submit.checking.reading import Opened, open_submission

_BLOCK_SHAPE = (128, 128, 128)
_MOST_SEEN = 2**26  # ids up to here are counted by a table of bits, beyond by sorting


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedArray:
    """One array of a submission: its type, voxels that are not 0, and ids (None for semantic classes)."""

    crop: str
    class_name: str
    dtype: str
    voxels: int
    instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionReport:
    """What a check found.

    Attributes
    ----------
    path : Path
        The folder or zip.
    arrays : tuple of CheckedArray
        Those that can be scored.
    errors : tuple of Problem
        What would be scored wrongly or not at all.
    remarks : tuple of Problem
        What costs nothing but may not be meant: missing, surplus and empty arrays.
    """

    path: Path
    arrays: tuple[CheckedArray, ...]
    errors: tuple[Problem, ...]
    remarks: tuple[Problem, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Errors and remarks."""
        return (*self.errors, *self.remarks)

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.errors


def check_submission(
    path: str | os.PathLike[str], *, config: Config, crops: Sequence[str] | None = None
) -> SubmissionReport:
    """Check a submission against the test crops of a data folder.

    Parameters
    ----------
    path : path-like
        A zarr folder or a zip; a zip is read where it is, nothing is unpacked.
    config : csc_data.config.user_config.Config
        The data folder may bring its own list of test crops.
    crops : sequence of str, optional
        Which test crops to look for; all by default.

    Raises
    ------
    MissingDataError
        If there is no such file or folder.
    UnreadableDataError
        If it is neither a zip nor a zarr folder.
    """
    known = load_test_crops(config)
    arrays: list[CheckedArray] = []
    errors: list[Problem] = []
    remarks: list[Problem] = []
    try:
        submission = open_submission(path)
    except UnsafeArchiveError as error:  # nothing of it is read
        return SubmissionReport(path=Path(path), arrays=(), errors=error.problems, remarks=())
    names = submission.names()
    for crop in select_crops(known, crops):
        found = names.get(f"crop{crop.id}", ())
        if not found:
            remarks.append(Problem(where=f"crop{crop.id}", what="is missing", remedy="its classes score 0"))
            continue
        for name in crop.classes:
            where = f"crop{crop.id}/{name}"
            if name not in found:
                remarks.append(Problem(where=where, what="is missing", remedy="it scores 0"))
                continue
            _check_array(submission, crop, name, (arrays, errors, remarks))
    remarks.extend(_surplus(names, {f"crop{crop.id}": crop for crop in known.values()}))
    return SubmissionReport(path=Path(path), arrays=tuple(arrays), errors=tuple(errors), remarks=tuple(remarks))


def _surplus(names: dict[str, tuple[str, ...]], known: dict[str, TestCrop]) -> list[Problem]:
    found = []
    for crop, classes in names.items():
        if crop not in known:
            found.append(Problem(where=crop, what="is not a test crop", remedy="it is ignored"))
            continue
        found.extend(
            Problem(where=f"{crop}/{name}", what="is not scored in this crop", remedy="it is ignored")
            for name in classes
            if name not in known[crop].classes
        )
    return found


def _check_array(
    submission: Opened,
    crop: TestCrop,
    name: str,
    findings: tuple[list[CheckedArray], list[Problem], list[Problem]],
) -> None:
    arrays, errors, remarks = findings
    where = f"crop{crop.id}/{name}"
    try:
        array = submission.array(f"crop{crop.id}", name)
        wrong = _metadata_problems(array, crop, where)
        if wrong:
            errors.extend(wrong)
            return
        instances = name in get_instance_classes()
        lowest, voxels, count = _count(array, instances)
    except CscError as error:
        errors.append(Problem(where=where, what=str(error)))
        return
    if lowest < 0:
        errors.append(Problem(where=where, what=f"holds ids below 0 ({lowest})", remedy="ids are whole numbers from 1"))
        return
    if not voxels:
        remarks.append(Problem(where=where, what="is empty: all voxels are 0"))
    arrays.append(
        CheckedArray(
            crop=f"crop{crop.id}",
            class_name=name,
            dtype=str(array.dtype),
            voxels=voxels,
            instances=count if instances else None,
        )
    )


def _metadata_problems(array: Any, crop: TestCrop, where: str) -> list[Problem]:
    """Check all that needs no voxel; a submission may come from anybody, so this goes first."""
    found = []
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biu":
        remedy = "threshold probabilities, and store labels as unsigned integers"
        found.append(Problem(where=where, what=f"holds {dtype}, no whole numbers", remedy=remedy))
    if tuple(array.shape) != crop.shape:
        found.append(Problem(where=where, what=f"has shape {tuple(array.shape)}, expected {crop.shape}"))
    attributes = dict(array.attrs)
    for key, expected in (("voxel_size", crop.voxel_size), ("translation", crop.translation)):
        given = attributes.get(key)
        if given is None:
            found.append(Problem(where=where, what=f"has no attribute {key}", remedy=f"it should be {list(expected)}"))
        elif not _close(given, expected, crop.voxel_size):
            found.append(Problem(where=where, what=f"has {key} {given}, expected {list(expected)} nm"))
    return found


def _close(given: object, expected: Sequence[float], voxel_size: Sequence[float]) -> bool:
    """Tell whether three numbers are those expected, within a small share of a voxel."""
    if not isinstance(given, list | tuple) or len(given) != 3:
        return False
    if not all(isinstance(number, int | float) for number in given):
        return False
    return all(abs(g - e) <= TOLERANCE * v for g, e, v in zip(given, expected, voxel_size, strict=True))


def _count(array: Any, instances: bool) -> tuple[int, int, int]:
    """Return the least value, the voxels that are not 0, and the number of ids."""
    lowest = voxels = 0
    seen = np.zeros(1, dtype=bool)
    large: npt.NDArray[Any] = np.zeros(0, dtype=np.uint64)
    for block in BlockGrid(shape=array.shape, block_shape=align_block_shape(_BLOCK_SHAPE, array.chunks)):
        values = array[block.write]
        present = values[values != 0]
        voxels += present.size
        if not present.size:
            continue
        lowest = min(lowest, int(present.min()))
        if not instances or lowest < 0:
            continue
        top = int(present.max())
        if top < _MOST_SEEN:
            if top >= len(seen):
                seen = np.concatenate([seen, np.zeros(max(top + 1, 2 * len(seen)) - len(seen), dtype=bool)])
            seen[present] = True
        else:
            large = np.union1d(large, np.unique(present).astype(np.uint64))
    small = np.flatnonzero(seen).astype(np.uint64)
    return lowest, voxels, len(np.union1d(small, large))
