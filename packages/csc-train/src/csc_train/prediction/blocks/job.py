"""The work on one block of a prediction: what is read, predicted, blended, finished and written."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.blocks import Block
from csc_data.geometry import TOLERANCE, Grid, Roi
from csc_data.loader import PatchShape, RawSource
from csc_data.loader.poses.placement import Position
from csc_data.loader.sources.working_level import working_grid
from csc_data.volumes import Volume
from csc_data.volumes.output import open_output_array
from csc_train.devices import one_thread
from csc_train.prediction.blocks.finishing import Averaging, StoredForm
from csc_train.prediction.blocks.reading import Ahead, PatchBatch, PatchReader
from csc_train.prediction.blocks.writing import SlabWriter
from csc_train.prediction.source import NetworkSource, ReadyNetwork
from csc_train.prediction.window.blending import CACHED_VALUES, Blend, Window
from csc_train.prediction.window.passes import Passes, check_finite
from csc_train.prediction.window.tiling import Placement, Windows
from csc_train.prediction.window.weights import window_weights
from csc_train.settings import PredictSettings


@dataclass(frozen=True, kw_only=True)
class BlockJob:
    """Predicts blocks of one region; knows nothing of their order, nor of other processes. Can be pickled.

    Attributes
    ----------
    source : NetworkSource
        Each process loads the network once.
    name : str
        What the region is called in errors, such as ``crop557``.
    raw : Volume
    stored : Roi
        The box in nm in which raw is taken to be stored; beyond its end it is mirrored.
    windows : Windows
        How patches lie: on one grid for the whole region.
    grid : Grid
        Of the network's output over the whole region.
    output : Grid
        What blocks are blocks of: ``grid``, or another one over whose voxels it is averaged.
    classes : tuple of str, or None
        Those that are wanted, of the network's; None for all its channels, whatever they stand for.
    arrays : tuple of Path
        One for each class.
    device : str, optional
        That of the settings by default, else the best one where the job is done.
    within : Roi, optional
        The box in nm in which raw is looked for; all around ``grid`` by default.
    """

    source: NetworkSource
    name: str
    raw: Volume
    stored: Roi
    windows: Windows
    grid: Grid
    output: Grid
    classes: tuple[str, ...] | None
    arrays: tuple[Path, ...] = ()
    device: str | None = None
    within: Roi | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What a process has opened and loaded stays there.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __call__(self, block: Block) -> None:
        """Predict a block and write it, all classes; doing it again writes the same bytes.

        Raises
        ------
        CscError, OSError
            As `compute`, or if it cannot be written.
        """
        arrays = self._opened
        depth = max(array.chunks[0] for array in arrays)
        with SlabWriter(arrays, block, depth) as writer:
            for planes in self.finished(block):
                writer.put(planes)

    def compute(self, block: Block) -> npt.NDArray[Any]:
        """Return a block as it is stored, shape (C, z, y, x).

        Raises
        ------
        NonFiniteOutputError
            If the network gives NaN or infinity.
        InvalidArgumentError
            If its output does not fit its classes or the target.
        CscError, OSError
            If patches cannot be read.
        """
        return np.concatenate(list(self.finished(block)), axis=1)

    @property
    def _ready(self) -> ReadyNetwork:
        return self.source.load(self.device)

    @functools.cached_property
    def _opened(self) -> list[Any]:
        return [open_output_array(path) for path in self.arrays]

    @functools.cached_property
    def _raw(self) -> RawSource:
        reach = max(max(info.extent) for info in _inputs(self.windows.patch))
        return RawSource(self.raw, self.stored, self.within or self.grid.bounds.grow((reach,) * 3))

    @functools.cached_property
    def _placements(self) -> tuple[Placement, ...]:
        return self.windows.place(self.grid.shape)

    def finished(self, block: Block) -> Iterator[npt.NDArray[Any]]:
        """Yield what is stored of a block piece by piece along z, (C, n, y, x); see `compute`."""
        ready = self._ready
        form = stored_form(ready.predictor.settings, self.classes)
        averaging = None if self.output == self.grid else Averaging(self.grid, self.output, block)
        begin, end = block.begin, _end(block)
        if averaging is not None:
            begin, end = averaging.begin, averaging.end
        with torch.inference_mode(), one_thread():
            for z, planes in self._blended(ready, f"block {block.index} of {self.name}", begin, end):
                for done in [planes] if averaging is None else averaging.take(z, planes):
                    for part in _cached_parts(done):
                        yield form.store(part).cpu().numpy()

    def _blended(self, ready: ReadyNetwork, where: str, begin: Position, end: Position) -> Iterator[tuple[int, Tensor]]:
        """Yield the planes of a box of the network's output as they are finished; a mean where patches lie flat."""
        placements = self._placements
        if len(placements) == 1:
            yield from self._blended_once(ready, where, placements[0], (begin, end))
            return
        total: Tensor | None = None
        for placement in placements:
            for z, planes in self._blended_once(ready, where, placement, (begin, end)):
                if total is None:
                    shape = [len(planes), *(e - b for b, e in zip(begin, end, strict=True))]
                    total = torch.zeros(shape, device=planes.device)
                total[:, z - begin[0] : z - begin[0] + planes.shape[1]].add_(planes)
        assert total is not None
        yield begin[0], total.div_(len(placements))

    def _blended_once(
        self, ready: ReadyNetwork, where: str, placement: Placement, box: tuple[Position, Position]
    ) -> Iterator[tuple[int, Tensor]]:
        predictor = ready.predictor
        passes = ready.passes(self.windows, self.classes)
        reader = PatchReader(
            raw=self._raw,
            region=self.grid,
            windows=self.windows,
            raw_range=predictor.raw_range,
            transform=predictor.settings.value_transforms,
            batch_size=predictor.batch_size(self.windows),
        )
        weights = torch.tensor(
            window_weights(placement.size, self.windows.blending, self.windows.least), device=passes.device
        )
        blend = Blend(begin=box[0], end=box[1], weights=weights, activate=passes.last)
        sums: list[Tensor] = []
        # Reading, the network and blending each have a thread.
        with Ahead(reader.batches(placement, *box)) as read, Ahead(_predicted(read, passes)) as predicted:
            for z, planes in blend.planes(_windows(predicted, placement, sums)):
                # Asked once for all windows of these planes: a question to a GPU waits for it.
                check_finite(sums, where)
                sums.clear()
                yield z, planes


@dataclass(frozen=True, slots=True, kw_only=True)
class _PredictedBatch:
    """What the network says of a batch, and sums of that."""

    positions: tuple[Position, ...]
    values: Tensor
    sums: Tensor


def _predicted(batches: Iterable[PatchBatch], passes: Passes) -> Iterator[_PredictedBatch]:
    for batch in batches:
        values, sums = passes.predict(batch.values)
        yield _PredictedBatch(positions=batch.positions, values=values, sums=sums)


def _windows(batches: Iterable[_PredictedBatch], placement: Placement, sums: list[Tensor]) -> Iterator[Window]:
    """Yield what the network says, window by window; sums of it are left in a list."""
    order = [placement.orientation.world_axis.index(axis) for axis in range(3)]
    for batch in batches:
        sums.append(batch.sums)
        for position, each in zip(batch.positions, batch.values, strict=True):
            along_world = each.permute(0, *(1 + axis for axis in order))
            yield Window(position=position, values=along_world, alone=placement.alone(position))


def _cached_parts(planes: Tensor) -> Sequence[Tensor]:
    """Cut planes into parts that stay in a CPU's cache; a GPU hands them over at once."""
    if planes.is_cuda:
        return [planes]
    return torch.split(planes, max(1, CACHED_VALUES // max(1, planes[:, 0].numel())), dim=1)


def stored_form(settings: PredictSettings, classes: tuple[str, ...] | None) -> StoredForm:
    """Return the form in which values are stored, for classes in their order.

    Examples
    --------
    >>> from csc_train import PredictSettings
    >>> stored_form(PredictSettings(output="mask", threshold=0.7), ("nuc",))
    StoredForm(dtype='uint8', thresholds=(0.7,))
    """
    thresholds = None
    if settings.output == "mask":
        given = settings.threshold
        names = classes or ("",)  # of channels without names, one for all
        thresholds = tuple(given if isinstance(given, float | int) else given.get(name, 0.5) for name in names)
    return StoredForm(dtype=settings.stored_dtype, thresholds=thresholds)


def region_grid(roi: Roi, patch: PatchShape, raw: Volume) -> Grid:
    """Return the grid of the network's output that covers a box.

    Where the network sees raw at the voxel size in which it is read, its patches lie on raw's own voxels, so that
    nothing is interpolated: the grid then begins up to a voxel of the input before the box.

    Parameters
    ----------
    roi : Roi
    patch : PatchShape
        Input and target of the network in this prediction.
    raw : Volume
    """
    given, target = patch.input, patch.target
    source = working_grid(raw, given.scale)
    begin, end = list(roi.begin), roi.end
    for axis in range(3):
        size, step = source.voxel_size[axis], given.scale[axis]
        ratio = step / target.scale[axis]
        if abs(size / step - 1) > TOLERANCE or abs(ratio - round(ratio)) > TOLERANCE:
            continue
        # What a window's first target voxel lies behind its first input voxel.
        lead = (given.extent[axis] - target.extent[axis]) / 2
        offset = (roi.begin[axis] - lead - source.bounds.begin[axis]) / step
        begin[axis] = source.bounds.begin[axis] + math.floor(offset + TOLERANCE) * step + lead
    return Grid.covering(Roi(begin, end), target.scale)


def _inputs(patch: PatchShape) -> list[Any]:
    return [patch.input, *patch.further_inputs.values()]


def _end(block: Block) -> Position:
    z, y, x = (b + n for b, n in zip(block.begin, block.shape, strict=True))
    return z, y, x
