"""What is done to the values of a block, or of a whole volume: smoothing, own step, threshold, opening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape, Triple, as_shape
from csc_submit.processing.filters import open_mask, smooth
from csc_submit.processing.own_step import OwnStep, Place
from csc_submit.settings import ClassOptions
from csc_submit.values import Meaning, above_threshold, check_block, decode, decoded_threshold

_UNKNOWN_LOGIT = -100.0  # of what is not known: surely not of the class


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSteps:
    """The steps that look at no more than a voxel's surroundings.

    Attributes
    ----------
    meaning : Meaning
        What the values are.
    voxel_size : tuple of float
        nm, z, y, x.
    options : ClassOptions
    own : OwnStep or None
        The participant's own step.
    alone : bool
        Whether it gets the whole volume at once, so that ids from the own step are ids of the volume.
    """

    meaning: Meaning
    voxel_size: Triple
    options: ClassOptions
    own: OwnStep | None
    alone: bool

    def stored_dtype(self, source: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type in which the mask or the labels of values of a type are kept."""
        if not self.options.instances:
            return np.dtype("u1")
        if self.meaning.is_label:
            # Labels in floats are checked to be whole numbers when they are read.
            return np.dtype(f"u{source.itemsize}") if source.kind in "iu" else np.dtype("u8")
        return np.dtype("u4") if self.own is not None else np.dtype("u1")

    @property
    def _keeps_logits(self) -> bool:
        """Whether the own step wants stored logits, which lose their digits near 1 as probabilities."""
        return (
            self.own is not None
            and self.own.values == self.meaning.values.kind == "logit"
            and not self.options.smoothing_nm
        )

    def apply(self, stored: npt.NDArray[Any], begin: Shape = (0, 0, 0)) -> npt.NDArray[Any]:
        """Return the mask (bool) or the labels (unsigned) of stored values, shape (z, y, x), that lie at ``begin``.

        Raises
        ------
        MeaningUnknownError
            If the values cannot be what they are taken for.
        InvalidArgumentError
            If the participant's step returns something else than a mask, probabilities or labels of that shape.
        ProcessFuncError
            If it raises anything.
        """
        check_block(stored, self.meaning, instances=self.options.instances)
        options, values = self.options, self.meaning.values
        result: npt.NDArray[Any]
        if self.own is None and (self.meaning.is_label or not options.smoothing_nm):
            result = stored if self.meaning.is_label else above_threshold(stored, values, options.threshold)
        else:
            if self.meaning.is_label:
                given = stored
            elif self._keeps_logits:
                given = np.nan_to_num(stored.astype(np.float32) / np.float32(values.one), nan=_UNKNOWN_LOGIT)
            else:
                given = smooth(decode(stored, values), options.smoothing_nm, self.voxel_size)
            result = given if self.own is None else self._own(given, begin)
            if np.issubdtype(result.dtype, np.floating):
                result = result > decoded_threshold(values, options.threshold)
        if result.dtype != bool and not options.instances:
            result = result > 0
        if options.opening_nm:
            result = result * open_mask(result > 0, options.opening_nm, self.voxel_size)
        return result

    def _own(self, given: npt.NDArray[Any], begin: Shape) -> npt.NDArray[Any]:
        assert self.own is not None
        place = Place(
            class_name=self.options.class_name, voxel_size=self.voxel_size, begin=begin, shape=as_shape(given.shape)
        )
        result = self.own(given, self.meaning, place, are_logits=self._keeps_logits)
        numbered = np.issubdtype(result.dtype, np.integer) and result.max(initial=0) > 1
        if numbered and self.options.instances and not self.alone and not self.meaning.is_label:
            raise InvalidArgumentError(
                "process_func returned ids, but numbers of one block mean nothing in the next; return a mask, or set "
                "block_shape to the shape of the whole crop"
            )
        return result
