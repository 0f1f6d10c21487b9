"""What is done to the values of a block, or of a whole volume: smoothing, the user's own step, threshold, opening."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple
from csc_submit.processing.filters import open_mask, smooth
from csc_submit.settings import ClassOptions
from csc_submit.values import Meaning, above_threshold, check_block, decode, decoded_threshold


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
    process_func : callable or None
        The user's own step.
    alone : bool
        Whether it gets the whole volume at once, so that ids from the user's step are ids of the volume.
    """

    meaning: Meaning
    voxel_size: Triple
    options: ClassOptions
    process_func: Callable[..., Any] | None
    alone: bool

    def stored_dtype(self, source: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type in which the mask or the labels of values of a type are kept."""
        if not self.options.instances:
            return np.dtype("u1")
        if self.meaning.is_label:
            # Labels in floats are checked to be whole numbers when they are read.
            return np.dtype(f"u{source.itemsize}") if source.kind in "iu" else np.dtype("u8")
        return np.dtype("u4") if self.process_func is not None else np.dtype("u1")

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the mask (bool) or the labels (unsigned) of stored values, shape (z, y, x).

        Raises
        ------
        MeaningUnknownError
            If the values cannot be what they are taken for.
        InvalidArgumentError
            If the user's step returns something else than a mask, probabilities or labels of that shape.
        """
        check_block(stored, self.meaning, instances=self.options.instances)
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
