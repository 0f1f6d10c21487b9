"""What a network says wherever somebody looks: blocks of a volume by the work of `predict`, in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block, BlockGrid
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, did_you_mean
from csc_data.geometry import Grid, Roi, Shape, as_shape
from csc_data.loader import RawSource
from csc_data.volumes import Volume
from csc_data.volumes.stored_values import StoredValues
from csc_train.overrides import PredictOverrides
from csc_train.prediction.blocks import BlockJob, region_grid
from csc_train.prediction.planning.choice import hindrance
from csc_train.prediction.predictor import check_channels, load_predictor
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import Windows, windows_of
from csc_train.settings import TrainSettings

_EDGE = 64
"""Voxels along an edge of a block, about: one that is larger comes late, a smaller one has more windows to itself."""


class LiveNetwork:
    """A network that is ready to say what it sees in volumes.

    Parameters
    ----------
    source : path-like or TrainSettings
        A checkpoint, an exported network, the name of published weights, or an experiment, as for `predict`.
    config : Config, optional
        Whose data folder may bring classes of its own; the user's by default.
    **overrides : object
        Settings of `PredictSettings`, such as ``device``; voxels are always the network's.

    Raises
    ------
    CscError, csc_models.ModelError
        As `predict`, if it cannot be used at all.
    """

    def __init__(
        self,
        source: str | PathLike[str] | TrainSettings,
        config: Config | None = None,
        **overrides: Unpack[PredictOverrides],
    ) -> None:
        self.predictor = load_predictor(source, config, **overrides)
        check_channels(self.predictor)
        self._source = NetworkSource(given=self.predictor)
        self._source.load()  # a device that is not there is an error now

    @property
    def arrays(self) -> tuple[str, ...]:
        """What can be shown of it: classes, and what lies beside them, such as affinities."""
        return tuple(name for name in self.predictor.arrays if not hindrance(name, self.predictor))

    @property
    def meanings(self) -> Mapping[str, StoredValues]:
        """What the numbers of each mean."""
        return self.predictor.meanings

    def on(self, raw: Volume, names: Sequence[str] | None = None) -> LivePrediction:
        """Return what it says of a volume; nothing is computed yet.

        Parameters
        ----------
        raw : Volume
        names : sequence of str, optional
            The arrays that are wanted; those that its settings name, else all, by default.

        Raises
        ------
        InvalidArgumentError
            If the network does not give one, or not with these settings.
        """
        predictor = self.predictor
        wanted = names or predictor.settings.classes_to_write or self.arrays
        for name in wanted:
            if name not in predictor.arrays:
                raise InvalidArgumentError(f"the network has no class {name}: {did_you_mean(name, predictor.arrays)}")
            if why := hindrance(name, predictor):
                raise InvalidArgumentError(f"{name} cannot be shown: {why}")
        windows = windows_of(predictor.patch, predictor.settings)
        bounds = raw.levels[0].grid.bounds
        grid = region_grid(bounds, windows.patch, raw)
        windows = windows.within(bounds, grid)
        job = BlockJob(
            source=self._source,
            name=raw.path,
            raw=raw,
            stored=bounds,
            windows=windows,
            grid=grid,
            output=grid,
            classes=tuple(name for name in predictor.arrays if name in wanted),
        )
        return LivePrediction(
            job=job,
            block_shape=_block_shape(windows),
            dtype=np.dtype(predictor.settings.stored_dtype),
        )

    def close(self) -> None:
        """Let go of the network's memory."""
        self._source.release()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LivePrediction:
    """All of a volume as a region of `predict`, whose blocks are computed one at a time.

    Attributes
    ----------
    job : BlockJob
        Windows lie on one grid for the whole volume: the values are those of ``csc predict --volume``.
    block_shape : tuple of int
    dtype : dtype
    """

    job: BlockJob
    block_shape: Shape
    dtype: np.dtype[Any]

    @property
    def grid(self) -> Grid:
        """Voxels of the network's output."""
        return self.job.grid

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that are computed, in their order."""
        return self.job.classes or ()

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.names)

    def compute(self, index: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a block by its number along each axis, (C, z, y, x); 0 where raw was not fetched.

        Raises
        ------
        CscError
            If raw cannot be read, or the network does not give what is asked of it.
        """
        blocks = BlockGrid(shape=self.grid.shape, block_shape=self.block_shape)
        block = blocks[int(np.ravel_multi_index(index, blocks.counts))]
        # Chunks are looked for around this block alone: in a volume of millions that would take minutes.
        roi = self._roi(block)
        raw, patch = self.job.raw, self.job.windows.patch
        stored = RawSource(raw, roi).stored_box(patch.input)
        if stored.chunks and stored.empty == stored.chunks:
            return np.zeros((self.channels, *block.shape), self.dtype)
        reach = max(max(info.extent) for info in (patch.input, patch.target, *patch.further_inputs.values()))
        return dataclasses.replace(self.job, stored=roi, within=roi.grow((reach,) * 3)).compute(block)

    def _roi(self, block: Block) -> Roi:
        """Return what of raw a block covers."""
        return self.grid.window(block.begin, block.shape).bounds.intersect(self.job.raw.levels[0].grid.bounds)


def _block_shape(windows: Windows) -> Shape:
    """Return whole steps up to `_EDGE`, so that few windows are computed twice; of large patches one step."""
    if windows.patch.target.flat:
        return as_shape((_EDGE,) * 3)
    return as_shape([min(2 * _EDGE, step * max(1, _EDGE // step)) for step in windows.step])
