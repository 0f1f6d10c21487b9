"""What will be done to one prediction, decided before anything is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid, align_block_shape
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.volumes import open_volume
from csc_submit.digests import digest_of_files
from csc_submit.predictions import StoredPrediction, check_finished
from csc_submit.processing.filters import needed_halo
from csc_submit.processing.local_steps import LocalSteps
from csc_submit.processing.own_step import OwnStep, own_step
from csc_submit.settings import PROCESS_FUNC_HALO, ClassOptions, ProcessSettings
from csc_submit.values import Meaning, find_meaning

_CHUNKS = (64, 64, 64)

_VERSION = 1  # of the results; another number makes results of before incomparable


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPlan:
    """The work on one class of one crop.

    Attributes
    ----------
    prediction : StoredPrediction
    source : Path
        The array that is read, the finest level.
    target, work : Path
        Where the result goes, and the hidden folder in which it grows.
    grid : Grid
        The grid of both.
    chunks : tuple of int
        Chunk shape of what is written.
    blocks : BlockGrid
        The blocks, with the halo that the local steps need.
    meaning : Meaning
        What the source holds.
    source_dtype : numpy.dtype
    options : ClassOptions
    own : OwnStep or None
    made_with : dict
        All that the result depends on, but for the contents of the source.
    """

    prediction: StoredPrediction
    source: Path
    target: Path
    work: Path
    grid: Grid
    chunks: Shape
    blocks: BlockGrid
    meaning: Meaning
    source_dtype: np.dtype[Any]
    options: ClassOptions
    own: OwnStep | None
    made_with: dict[str, Any]

    def fingerprint(self) -> dict[str, Any]:
        """Return all that the result depends on. This reads the whole source: call it once, and only where needed."""
        return {"prediction": digest_of_files(self.source), **self.made_with}

    @property
    def local_steps(self) -> LocalSteps:
        """What is done to each block by itself."""
        return LocalSteps(
            meaning=self.meaning,
            voxel_size=self.grid.voxel_size,
            options=self.options,
            own=self.own,
            alone=len(self.blocks) == 1,
        )

    @property
    def finds_objects(self) -> bool:
        """Whether objects must be told apart: to number them, or to remove the small ones."""
        return self.options.finds_objects(self.grid.voxel_size)

    @property
    def steps(self) -> int:
        """Blocks over all stages."""
        stages = 1 + 2 * self.options.fill_holes + 2 * self.finds_objects
        return stages * len(self.blocks)


def check_options(options: ClassOptions, meaning: Meaning) -> None:
    """Check that what is asked makes sense for what a prediction holds.

    Raises
    ------
    InvalidArgumentError
        If it does not.
    """
    if meaning.is_label and options.instances and options.fill_holes:
        raise InvalidArgumentError(
            "fill_holes is for masks and probabilities, and this prediction holds ids; leave it out for this class"
        )


def plan_array(prediction: StoredPrediction, settings: ProcessSettings, config: Config) -> ArrayPlan:
    """Look at a prediction and decide what to do.

    Raises
    ------
    CscError
        If the prediction cannot be read, or what is asked makes no sense for it.
    """
    check_finished(prediction.path, prediction.class_name)
    volume = open_volume(prediction.path)
    level = volume.levels[0]
    mine = settings.for_class(prediction.class_name)
    meaning = find_meaning(volume, settings.stored_as)
    check_options(mine, meaning)
    # Blocks never share a chunk, so chunks are not larger than blocks.
    limits = zip(_CHUNKS, settings.block_shape, level.grid.shape, strict=True)
    chunks = as_shape([max(1, min(limit)) for limit in limits])
    halo = needed_halo(mine, level.grid.voxel_size)
    own = own_step(settings)
    if own is not None:
        halo = as_shape([a + b for a, b in zip(halo, settings.process_halo or PROCESS_FUNC_HALO, strict=True)])
    blocks = BlockGrid(shape=level.grid.shape, block_shape=align_block_shape(settings.block_shape, chunks), halo=halo)
    source = prediction.path / level.name
    target = config.path(
        "processed", dataset=prediction.dataset, crop=prediction.crop, class_name=prediction.class_name
    )
    return ArrayPlan(
        prediction=prediction,
        source=source,
        target=target,
        work=target.with_name(f".{target.name}.part"),
        grid=level.grid,
        chunks=chunks,
        blocks=blocks,
        meaning=meaning,
        source_dtype=level.dtype,
        options=mine,
        own=own,
        made_with={
            "version": _VERSION,
            "meaning": dataclasses.asdict(meaning),
            "voxel_size": list(level.grid.voxel_size),
            "translation": list(level.grid.translation),
            "options": dataclasses.asdict(mine),
            "process_func": own.record if own is not None else None,
            # Block borders may change what the user's own step does, but no step of ours.
            "blocks": [list(blocks.block_shape), list(blocks.halo)],
        },
    )
