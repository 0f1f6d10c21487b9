"""Objects from affinities by mutex watershed, in blocks with a margin that are joined where they agree.

Each block is divided together with its margin, so that two blocks see nearly the same around the face between them. Of
what is found, the block itself and one layer beyond it are kept. Two objects of neighbouring blocks are one where, on
that layer, each makes up more than half of the other: whatever the order of blocks, and where only a few voxels differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block
from csc_data.errors import import_extra
from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array
from csc_data.geometry import Shape
from csc_data.volumes.stored_values import StoredValues
from csc_submit.processing.components import BlockLabels, Labelling
from csc_submit.steps.declared import MutexWatershed
from csc_submit.values import as_probabilities

Volume = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChannel:
    """A prediction that is read beside that of the class: where its array lies, and what its numbers are."""

    path: Path
    values: StoredValues

    def read(self, box: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """Return those of a box, from 0 to 1."""
        return as_probabilities(np.asarray(open_array(self.path)[box]), self.values)


def divide(mask: Volume, step: MutexWatershed, affinities: Sequence[Volume]) -> BlockLabels:
    """Divide a mask by its affinities, and number what results from 1; voxels that nothing attracts are 0.

    Parameters
    ----------
    mask : ndarray, shape (z, y, x)
        Above 0 inside.
    step : MutexWatershed
    affinities : sequence of ndarray, shape (z, y, x)
        For each offset of the step from 0 to 1.

    Raises
    ------
    MissingPackageError
        If mwatershed is not installed.
    """
    agglomerate = import_extra("mwatershed", "a mutex watershed", "csc-submit[mutex]").agglom
    inside = mask > 0
    if not inside.any():
        return np.zeros(mask.shape, np.uint32)
    weights = np.zeros((len(step.offsets), *mask.shape))
    for weight, affinity, offset in zip(weights, affinities, step.offsets, strict=True):
        here, there = _partners(offset)
        both = inside[here] & inside[there]
        weight[here] = np.where(both, affinity[here] - np.float64(step.level), 0)
    found = agglomerate(weights, [list(offset) for offset in step.offsets])
    found[~inside] = 0
    names, numbers = np.unique(found, return_inverse=True)
    labels: BlockLabels = numbers.reshape(mask.shape).astype(np.uint32)
    return labels if names[0] == 0 else labels + np.uint32(1)


def _partners(offset: Shape) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the voxels that have a partner at an offset within the array, and these partners."""
    here = tuple(slice(max(0, -n), -n if n > 0 else None) for n in offset)
    there = tuple(slice(max(0, n), n if n < 0 else None) for n in offset)
    return here, there


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragments(Labelling):
    """Labels by mutex watershed in place of connected components.

    Attributes
    ----------
    step : MutexWatershed
    margin : tuple of int
        Voxels around each block that are looked at, too.
    affinities : sequence of StoredChannel
        Of each offset of the step.
    """

    mutual: ClassVar[bool] = True
    step: MutexWatershed
    margin: Shape
    affinities: Sequence[StoredChannel]

    def label(self, block: Block) -> BlockLabels:
        """Return the labels of a block and the layer beyond it, which its table was made of."""
        place = self._labels(block)
        if place.exists():
            return np.asarray(open_array(place)[...])
        return self._divide(block)

    def __call__(self, block: Block) -> None:
        """Divide a block, keep the labels, as finding them takes long, and store its table."""
        labels = self._divide(block)
        place = self._labels(block)
        array = create_array(
            place, shape=labels.shape, dtype=labels.dtype, chunks=labels.shape, overwrite=True, labels=True
        )
        array[...] = labels
        Labelling.__call__(self, block)

    def _labels(self, block: Block) -> Path:
        return self.tables / f"{block.index}.labels"

    def _divide(self, block: Block) -> BlockLabels:
        shape = self.grid.shape
        begin = [max(0, b - m) for b, m in zip(block.begin, self.margin, strict=True)]
        sizes = zip(block.begin, block.shape, self.margin, shape, strict=True)
        end = [min(n, b + size + 1 + m) for b, size, m, n in sizes]
        box = tuple(map(slice, begin, end))
        affinities = [one.read(box) for one in self.affinities]
        found = divide(np.asarray(open_array(self.source)[box]), self.step, affinities)
        inner = tuple(slice(b - o, b - o + n + 1) for b, o, n in zip(block.begin, begin, block.shape, strict=True))
        names, numbers = np.unique(found[inner], return_inverse=True)
        kept = numbers.reshape(found[inner].shape).astype(np.uint32)
        return kept if names[0] == 0 else kept + np.uint32(1)
