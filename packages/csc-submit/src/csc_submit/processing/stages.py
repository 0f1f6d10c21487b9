"""The work on one block in each stage of post-processing: objects that a process can be sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block
from csc_data.errors import InvalidArgumentError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import open_array_for_writing
from csc_data.geometry import Triple
from csc_submit.processing.components import Components, Labelling
from csc_submit.processing.filters import open_mask, smooth
from csc_submit.settings import ClassOptions
from csc_submit.values import Meaning, above_threshold, check_block, decode, decoded_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskBlock:
    """From stored predictions to a mask, or to labels where the prediction holds them.

    Attributes
    ----------
    source, target : Path
        The arrays to read and to write.
    meaning : Meaning
        What the source holds.
    voxel_size : tuple of float
        nm, z, y, x.
    options : ClassOptions
    process_func : callable or None
        The user's own step.
    alone : bool
        Whether this block is the whole volume, so that ids from the user's step are ids of the volume.
    """

    source: Path
    target: Path
    meaning: Meaning
    voxel_size: Triple
    options: ClassOptions
    process_func: Callable[..., Any] | None
    alone: bool

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        source, target = open_array(self.source), open_array_for_writing(self.target)
        # The box is clipped to the volume, so that filters see its border as they would in the whole volume.
        begin = [max(0, b) for b in block.read_begin]
        end = [min(size, b + n) for b, n, size in zip(block.read_begin, block.read_shape, source.shape, strict=True)]
        box = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        stored = source[box]
        check_block(stored, self.meaning, instances=self.options.instances)
        result = self.apply(stored)
        inner = tuple(slice(w.start - b, w.stop - b) for w, b in zip(block.write, begin, strict=True))
        target[block.write] = result[inner].astype(target.dtype)

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the mask (bool) or the labels (unsigned) of stored values, shape (z, y, x)."""
        options, values = self.options, self.meaning.values
        result: npt.NDArray[Any]
        if self.process_func is None and (self.meaning.is_label or not options.smoothing_nm):
            result = stored if self.meaning.is_label else above_threshold(stored, values, options.threshold)
        else:
            given = (
                stored
                if self.meaning.is_label
                else smooth(decode(stored, values), options.smoothing_nm, self.voxel_size)
            )
            result = given if self.process_func is None else self._call(given)
            if np.issubdtype(result.dtype, np.floating):
                result = result > decoded_threshold(values, options.threshold)
        if result.dtype != bool and not options.instances:
            result = result > 0
        if options.opening_nm:
            result = result * open_mask(result > 0, options.opening_nm, self.voxel_size)
        return result

    def _call(self, given: npt.NDArray[Any]) -> npt.NDArray[Any]:
        function = self.process_func
        assert function is not None
        extra = {"class_name": self.options.class_name, "voxel_size": self.voxel_size}
        named = inspect.signature(function).parameters
        result = np.asarray(function(given, **{name: value for name, value in extra.items() if name in named}))
        if result.shape != given.shape:
            raise InvalidArgumentError(
                f"process_func returned shape {result.shape} for a block of {given.shape}; it must keep the shape"
            )
        if np.issubdtype(result.dtype, np.floating):
            low = -1.0 if self.meaning.values.kind == "distance" else 0.0
            if self.meaning.is_label or not np.all((result >= low) & (result <= 1)):
                raise InvalidArgumentError(
                    f"process_func returned numbers beyond [{low:g}, 1]; it must return a mask, probabilities or labels"
                )
            return result
        if result.dtype == bool:
            return result
        if not np.issubdtype(result.dtype, np.integer) or result.min(initial=0) < 0:
            raise InvalidArgumentError(
                f"process_func returned {result.dtype}; it must return a mask, probabilities, or labels"
            )
        if self.options.instances and not self.alone and not self.meaning.is_label and result.max(initial=0) > 1:
            raise InvalidArgumentError(
                "process_func returned ids, but numbers of one block mean nothing in the next; return a mask, or set "
                "block_shape to the shape of the whole crop"
            )
        return result


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
    keep : bool
        Whether voxels without component keep the value of the source (which ``labelling`` reads), or become 0.
    """

    labelling: Labelling
    components: Components
    values: npt.NDArray[Any]
    target: Path
    keep: bool = False

    def __call__(self, block: Block) -> None:
        """Work on a block."""
        target = open_array_for_writing(self.target)
        labels = self.labelling.label(block)[tuple(slice(0, n) for n in block.shape)]
        result = self.components.lookup(self.values, block.index)[labels]
        if self.keep:
            source = np.asarray(open_array(self.labelling.source)[block.write])
            result = np.where(labels > 0, result, source)
        target[block.write] = result.astype(target.dtype)
