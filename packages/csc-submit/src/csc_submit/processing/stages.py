"""The work on one block in each stage of post-processing: objects that a process can be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block
from csc_data.formats.reading import open_array
from csc_data.formats.writing import open_array_for_writing
from csc_data.geometry import as_shape
from csc_submit.processing.components import Components, Labelling
from csc_submit.processing.local.local_steps import LocalSteps, Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBlock:
    """Local steps on the blocks of an array.

    Attributes
    ----------
    source, target : Path
        The arrays to read and to write.
    steps : LocalSteps
        What is done.
    prediction : Path
        The stored prediction of the class.
    results : mapping of str to Path
        The arrays of results of other classes.
    beside : mapping of str to Path
        The stored predictions of other classes.
    side : Path or None
        Of a watershed: the mask that is divided.
    """

    source: Path
    target: Path
    steps: LocalSteps
    prediction: Path
    results: Mapping[str, Path]
    beside: Mapping[str, Path]
    side: Path | None = None

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        source, target = open_array(self.source), open_array_for_writing(self.target)
        # The box is clipped to the volume, so that filters see its border as they would in the whole volume.
        begin = [max(0, b) for b in block.read_begin]
        end = [min(size, b + n) for b, n, size in zip(block.read_begin, block.read_shape, source.shape, strict=True)]
        box = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        around = Surroundings(
            begin=as_shape(begin),
            result_of=lambda name: np.asarray(open_array(self.results[name])[box]),
            prediction=lambda: np.asarray(open_array(self.prediction)[box]),
            prediction_of=lambda name: np.asarray(open_array(self.beside[name])[box]),
            side=None if self.side is None else np.asarray(open_array(self.side)[box]),
        )
        result = self.steps.apply(source[box], around)
        inner = tuple(slice(w.start - b, w.stop - b) for w, b in zip(block.write, begin, strict=True))
        target[block.write] = result[inner].astype(target.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelBlock:
    """Write for each voxel what its component becomes.

    Attributes
    ----------
    labelling : Labelling
        Gives the components of a block.
    components : Components
        Joins them.
    values : ndarray
        What each component of the volume becomes.
    target : Path
        The array to write.
    others : {"zero", "kept"}
        Voxels without component become 0, or keep the value of the source, which ``labelling`` reads.
    as_mask : bool
        Whether ``values`` are 1 and 0 and stand for the value of the source, and 0.
    """

    labelling: Labelling
    components: Components
    values: npt.NDArray[Any]
    target: Path
    others: Literal["zero", "kept"] = "zero"
    as_mask: bool = False

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        target = open_array_for_writing(self.target)
        labels = self.labelling.label(block)[tuple(slice(0, n) for n in block.shape)]
        result = self.components.lookup(self.values, block.index)[labels]
        if self.others == "kept" or self.as_mask:
            source = np.asarray(open_array(self.labelling.source)[block.write])
            result = np.where(result > 0, source, 0) if self.as_mask else np.where(labels > 0, result, source)
        target[block.write] = result.astype(target.dtype)
