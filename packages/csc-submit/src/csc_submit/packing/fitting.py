"""What is packed of one class of one test crop, and how it comes onto the crop's grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid, align_block_shape, check_finished
from csc_data.challenge import TestCrop
from csc_data.errors import InvalidArgumentError
from csc_data.formats.cache import ChunkCache
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.geometry import Grid, as_shape
from csc_data.volumes import Level, Volume, open_volume
from csc_data.volumes.stored_values import Kind, StoredValues
from csc_eval.placing.align import align, align_probabilities, is_instance_class, is_resampled
from csc_eval.placing.predictions import CropGrid, Prediction
from csc_eval.rules import DEFINITION
from csc_eval.voxels.arrays import Shape, VoxelSource
from csc_submit.digests import digest_of_files
from csc_submit.packing.cutting import find_cut
from csc_submit.values import Meaning, above_threshold, as_probabilities, check_block, find_meaning

CHUNKS = (64, 64, 64)
"""Chunk shape of a submission."""

BLOCK_SHAPE = (128, 128, 128)

CACHE_BYTES = 2**26

AsProbabilities = Literal["refuse", "threshold"]

_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """The work on one class of one test crop.

    Attributes
    ----------
    crop : TestCrop
    class_name : str
    source : Path
        The volume that is read.
    target : Path
        The array that is written.
    meaning : Meaning
        What the source holds.
    threshold : float or None
        The probability above which voxels count; None for labels.
    instances : bool
        Whether ids are kept.
    covered : float
        Share of the test crop that the source covers.
    level : str
        Name of the level of the source that is read; empty where it is an array.
    made_with : dict
        All that the result depends on, but for the contents of the source.
    prediction : Path or None
        What a mask may have been cut from, and is packed from then: see `settle`.
    """

    crop: TestCrop
    class_name: str
    source: Path
    target: Path
    meaning: Meaning
    threshold: float | None
    instances: bool
    covered: float
    level: str
    made_with: dict[str, Any]
    prediction: Path | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Return all that the result depends on. This reads the whole source: call it once, and only where needed."""
        return {"source": digest_of_files(self.source / self.level), **self.made_with}

    @property
    def work(self) -> Path:
        """The hidden folder in which the array grows."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def grid(self) -> Grid:
        """The grid of the array."""
        return self.crop.grid

    @property
    def blocks(self) -> BlockGrid:
        """The blocks of the array."""
        chunks = [max(1, min(c, n)) for c, n in zip(CHUNKS, self.grid.shape, strict=True)]
        return BlockGrid(shape=self.grid.shape, block_shape=align_block_shape(BLOCK_SHAPE, chunks))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What to do with values that are not labels, or that do not say what they are.

    Attributes
    ----------
    as_probabilities : {"refuse", "threshold"}
    threshold : float
        The probability above which a voxel belongs to the class.
    stored_as : {"probability", "logit", "distance", "label"} or None
        What arrays hold that do not say so themselves.

    Raises
    ------
    InvalidArgumentError
        If the threshold is not between 0 and 1.
    """

    as_probabilities: AsProbabilities
    threshold: float
    stored_as: Kind | None

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InvalidArgumentError(f"threshold must be a probability between 0 and 1, got {self.threshold}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where one class of one test crop lies.

    Attributes
    ----------
    crop : TestCrop
    class_name : str
    source : Path
        What is to be packed.
    prediction : Path or None
        What a mask may have been cut from.
    """

    crop: TestCrop
    class_name: str
    source: Path
    prediction: Path | None


def plan_fit(found: Found, folder: Path, options: PackOptions) -> FitPlan:
    """Look at a source and decide how it gets onto the grid of a test crop.

    Raises
    ------
    CscError
        If it cannot be read, does not overlap the crop, or holds probabilities and these are refused.
    """
    crop, source = found.crop, found.source
    check_finished(source, class_name=found.class_name)
    volume = open_volume(source)
    meaning = find_meaning(volume, options.stored_as)
    instances = is_instance_class(found.class_name)
    _check_values(volume, meaning, options)
    threshold = None if meaning.is_label else options.threshold
    level = volume.level_for(crop.voxel_size)
    resampled = not np.allclose(level.grid.voxel_size, crop.voxel_size)
    overlap = level.grid.bounds.intersect(crop.grid.bounds)
    if overlap.empty:
        raise InvalidArgumentError(
            f"{source} fills {level.grid.bounds} nm and does not overlap the test crop, {crop.grid.bounds} nm"
        )
    covered = float(np.prod(overlap.extent) / np.prod(crop.grid.bounds.extent))
    return FitPlan(
        crop=crop,
        class_name=found.class_name,
        source=source,
        target=folder / f"crop{crop.id}" / found.class_name,
        meaning=meaning,
        threshold=threshold,
        instances=instances,
        covered=min(1.0, covered),
        level=level.name,
        made_with=_made_with(crop, level, meaning, threshold),
        prediction=found.prediction if meaning.is_label and not instances and resampled else None,
    )


def settle(plan: FitPlan) -> FitPlan:
    """Return a plan with the source that is packed in the end. This may read all of it, so who packs it does it.

    A mask that another voxel size would resample, and that is no more than a threshold of a prediction that was kept,
    is packed from the prediction: probabilities resampled and then cut show an outline that a mask has lost.
    """
    cut = None if plan.prediction is None else find_cut(open_volume(plan.source), plan.prediction)
    if cut is None or plan.prediction is None:
        return dataclasses.replace(plan, prediction=None)
    volume = open_volume(plan.prediction)
    meaning, level = find_meaning(volume), volume.level_for(plan.crop.voxel_size)
    return dataclasses.replace(
        plan,
        source=plan.prediction,
        meaning=meaning,
        threshold=cut,
        level=level.name,
        made_with=_made_with(plan.crop, level, meaning, cut),
        prediction=None,
    )


def _made_with(crop: TestCrop, level: Level, meaning: Meaning, threshold: float | None) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "grid of the source": repr(level.grid),
        "grid of the crop": repr(crop.grid),
        "meaning": dataclasses.asdict(meaning),
        "threshold": threshold,
    }


def _check_values(volume: Volume, meaning: Meaning, options: PackOptions) -> None:
    dtype = volume.levels[0].dtype
    if not meaning.is_label and options.as_probabilities == "refuse":
        raise InvalidArgumentError(
            f"{volume.path} holds {dtype} that stand for a {meaning.values.kind}, not labels; "
            "`csc process` makes labels of them, or ask for a threshold"
        )
    if meaning.is_label and dtype.kind not in "biu":
        raise InvalidArgumentError(f"{volume.path} holds {dtype}; labels must be whole numbers, convert them")


def open_fitted(plan: FitPlan) -> VoxelSource:
    """Return a view of the source on the crop's grid: bool, or ids.

    Labels and what is resampled go through csc-eval's alignment, by the definition's rules: what is packed is what the
    score reads, and it lies on the crop's own grid, so that the leaderboard's shifts find nothing left to do.
    """
    crop = CropGrid(voxel_size=plan.crop.voxel_size, translation=plan.crop.translation, shape=plan.crop.shape)
    volume = open_volume(plan.source)
    level = volume.level_for(crop.voxel_size)
    stored = _Stored(level, plan.meaning, instances=plan.instances)
    labels = Prediction(voxels=stored, voxel_size=level.grid.voxel_size, translation=level.grid.translation)
    if plan.threshold is None:
        return align(labels, crop, instance=plan.instances, rules=DEFINITION)
    probabilities = dataclasses.replace(labels, voxels=_Decoded(stored, plan.meaning.values))
    if not is_resampled(probabilities, crop):
        return _Interpolated(volume, plan)
    return align_probabilities(probabilities, crop, above=plan.threshold, rules=DEFINITION)


class _Stored:
    """The voxels of a level, which are checked to be what they are taken for."""

    order: Literal["C", "F"] = "C"

    def __init__(self, level: Level, meaning: Meaning, *, instances: bool) -> None:
        # Not the cache of the process: that takes all that a volume has, and nobody comes back for it.
        cache = ChunkCache(CACHE_BYTES)
        self.array = ChunkedArray(level.array.source, level.array.attrs, cache)
        self.meaning, self.instances = meaning, instances
        self.shape: Shape = as_shape(level.array.shape)
        self.chunks: Shape = as_shape(level.array.chunks)
        self.dtype: np.dtype[Any] = level.dtype

    def read(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any]:
        """Return the voxels of a box."""
        values: npt.NDArray[Any] = self.array[tuple(map(slice, begin, end))]
        check_block(values, self.meaning, instances=self.instances)
        return values


class _Decoded:
    """A view of stored values as probabilities."""

    def __init__(self, source: VoxelSource, values: StoredValues) -> None:
        self.source, self.values = source, values
        self.shape, self.chunks, self.order = source.shape, source.chunks, source.order
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any]:
        """Return the voxels of a box."""
        return as_probabilities(self.source.read(begin, end), self.values)


class _Interpolated:
    """A volume of the crop's voxel size that need not lie on its grid, interpolated between voxels and cut."""

    order: Literal["C", "F"] = "C"

    def __init__(self, volume: Volume, plan: FitPlan) -> None:
        self.volume, self.plan = volume, plan
        self.shape, self.chunks = plan.grid.shape, CHUNKS
        self.dtype: np.dtype[Any] = np.dtype(np.bool_)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any]:
        """Return the voxels of a box."""
        plan = self.plan
        assert plan.threshold is not None
        shape = as_shape([e - b for b, e in zip(begin, end, strict=True)])
        values = self.volume.read(plan.grid.window(as_shape(begin), shape), 1)
        check_block(values, plan.meaning, instances=plan.instances)
        return above_threshold(values, plan.meaning.values, plan.threshold)
