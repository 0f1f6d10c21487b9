"""Putting one array on the grid of a test crop, block by block."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block, BlockGrid, align_block_shape
from csc_data.challenge import TestCrop, get_instance_classes
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.formats.writing import open_array_for_writing
from csc_data.geometry import Grid
from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import Kind
from csc_submit.digests import digest_of_files
from csc_submit.predictions import check_finished
from csc_submit.values import Meaning, above_threshold, check_block, find_meaning

CHUNKS = (64, 64, 64)
"""Chunk shape of a submission."""

BLOCK_SHAPE = (128, 128, 128)

AsProbabilities = Literal["refuse", "threshold"]

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the arrays to pack lie.

    Attributes
    ----------
    config : Config
    source : str or Path
        ``"processed"``, ``"predictions"``, or a folder.
    """

    config: Config
    source: str | Path

    def __str__(self) -> str:
        return str(self.config.root) if self.source in ("processed", "predictions") else os.fspath(self.source)

    def check(self) -> None:
        """Check that a folder that was named is there.

        Raises
        ------
        MissingDataError
            If it is not.
        """
        if self.source not in ("processed", "predictions") and not Path(self.source).is_dir():
            raise MissingDataError(f"there is no folder {self.source} to pack from")

    def find(self, dataset: str, crop: str, class_name: str) -> Path | None:
        """Return the folder of an array or group, or None if it does not exist.

        Raises
        ------
        MissingDataError
            If the work on this one is unfinished.
        """
        if self.source in ("processed", "predictions"):
            places = [self.config.path(str(self.source), dataset=dataset, crop=crop, class_name=class_name)]
        else:
            root = Path(self.source)
            places = [root / f"{dataset}.zarr" / crop / class_name, root / crop / class_name]
        for place in places:
            if place.is_dir():
                return place
            if place.with_name(f".{place.name}.part").is_dir():
                raise MissingDataError(f"{place} is not finished; `csc process` goes on with it")
        return None


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
    grid : Grid
        Its grid.
    dtype : numpy.dtype
        Its type: that of the ids, unsigned; uint8 for masks.
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
    """

    crop: TestCrop
    class_name: str
    source: Path
    target: Path
    grid: Grid
    dtype: np.dtype[Any]
    meaning: Meaning
    threshold: float | None
    instances: bool
    covered: float
    level: str
    made_with: dict[str, Any]

    def fingerprint(self) -> dict[str, Any]:
        """Return all that the result depends on. This reads the whole source: call it once, and only where needed."""
        return {"source": digest_of_files(self.source / self.level), **self.made_with}

    @property
    def work(self) -> Path:
        """The hidden folder in which the array grows."""
        return self.target.with_name(f".{self.target.name}.part")

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


def plan_fit(crop: TestCrop, class_name: str, source: Path, folder: Path, options: PackOptions) -> FitPlan:
    """Look at a source and decide how it gets onto the grid of a test crop.

    Raises
    ------
    CscError
        If it cannot be read, does not overlap the crop, or holds probabilities and these are refused.
    """
    check_finished(source, class_name)
    volume = open_volume(source)
    grid = crop.grid
    level = volume.level_for(grid.voxel_size)
    meaning = find_meaning(volume, options.stored_as)
    instances = class_name in get_instance_classes()
    if not meaning.is_label and options.as_probabilities == "refuse":
        raise InvalidArgumentError(
            f"{source} holds {level.dtype} that stand for a {meaning.values.kind}, not labels; "
            "`csc process` makes labels of them, or ask for a threshold"
        )
    if meaning.is_label and level.dtype.kind not in "biu":
        raise InvalidArgumentError(f"{source} holds {level.dtype}; labels must be whole numbers, convert them")
    overlap = level.grid.bounds.intersect(grid.bounds)
    if overlap.empty:
        raise InvalidArgumentError(
            f"{source} fills {level.grid.bounds} nm and does not overlap the test crop, {grid.bounds} nm"
        )
    covered = float(np.prod(overlap.extent) / np.prod(grid.bounds.extent))
    # Ids keep the width of their type, so that none is cut off; everything else becomes a mask.
    ids = instances and meaning.is_label and level.dtype.kind in "iu"
    dtype = np.dtype(f"u{level.dtype.itemsize}") if ids else np.dtype("u1")
    threshold = None if meaning.is_label else options.threshold
    return FitPlan(
        crop=crop,
        class_name=class_name,
        source=source,
        target=folder / f"crop{crop.id}" / class_name,
        grid=grid,
        dtype=dtype,
        meaning=meaning,
        threshold=threshold,
        instances=instances,
        covered=min(1.0, covered),
        level=level.name,
        made_with={
            "version": _VERSION,
            "grid of the source": repr(level.grid),
            "grid of the crop": repr(grid),
            "meaning": dataclasses.asdict(meaning),
            "threshold": threshold,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitBlock:
    """Writes one block of a packed array."""

    plan: FitPlan

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        plan = self.plan
        volume = open_volume(plan.source)
        window = plan.grid.window(block.begin, block.shape)
        stored: npt.NDArray[Any] = volume.read(window, 0 if plan.threshold is None else 1)
        check_block(stored, plan.meaning, instances=plan.instances)
        if plan.threshold is not None:
            stored = above_threshold(stored, plan.meaning.values, plan.threshold)
        elif not plan.instances:
            stored = stored > 0
        target = open_array_for_writing(plan.work / plan.target.name)
        target[block.write] = stored.astype(plan.dtype)
