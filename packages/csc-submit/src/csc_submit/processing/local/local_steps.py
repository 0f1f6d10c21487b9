"""What local steps do to the values of a block, or of a whole volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape, Triple, as_shape
from csc_submit.processing.local.filters import close_mask, open_mask, smooth
from csc_submit.processing.local.watershed import depths, find_seeds, flood
from csc_submit.processing.own_step import OwnStep, Place
from csc_submit.processing.passes import Flood, Seeds
from csc_submit.settings import Connectivity
from csc_submit.steps.declared import Closing, Inside, Opening, Outside, Own, Smoothing, Step, Threshold, Union
from csc_submit.values import Meaning, above_threshold, check_block, decode, decoded_threshold

Volume = npt.NDArray[Any]

_UNKNOWN_LOGIT = -100.0  # of what is not known: surely not of the class


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a block can see beside the values that steps change.

    Attributes
    ----------
    begin : tuple of int
        Where its first voxel lies in the volume.
    result_of : callable
        Returns the result of another class in the box of the block.
    prediction : callable
        Returns the stored prediction of the own class there.
    prediction_of : callable
        Returns that of another class there.
    side : ndarray or None
        Of a watershed: the mask that is divided.
    """

    begin: Shape
    result_of: Callable[[str], Volume]
    prediction: Callable[[], Volume]
    prediction_of: Callable[[str], Volume]
    side: Volume | None = None


@dataclass(frozen=True, kw_only=True)
class LocalSteps:
    """The steps of one pass that look at no more than a voxel's surroundings.

    Attributes
    ----------
    steps : tuple of Step
    meaning : Meaning
        What the prediction holds.
    class_name : str
    instances : bool
        Whether ids of the class are kept.
    voxel_size : tuple of float
        nm, z, y, x.
    connectivity : {6, 18, 26}
    own : OwnStep or None
        The participant's own step.
    alone : bool
        Whether it gets the whole volume at once, so that its ids are ids of the volume.
    first : bool
        Whether the values are those of the prediction.
    """

    steps: tuple[Step, ...]
    meaning: Meaning
    class_name: str
    instances: bool
    voxel_size: Triple
    connectivity: Connectivity
    own: OwnStep | None
    alone: bool
    first: bool

    def stored_dtype(self, source: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type in which the mask or the labels of values of a type are kept."""
        if not self.first:
            # Floods add one number to the ids of seeds; seeds are a mask.
            if any(isinstance(step, Flood) for step in self.steps):
                return np.dtype("u4") if source.itemsize < 4 else np.dtype("u8")
            return np.dtype("u1") if any(isinstance(step, Seeds) for step in self.steps) else source
        if not self.instances:
            return np.dtype("u1")
        ids = np.dtype("u4") if self.own is not None else np.dtype("u1")  # what an own step may make of a mask
        if self.meaning.is_label:
            # Labels in floats are checked to be whole numbers when they are read.
            size = source.itemsize if source.kind in "iub" else 8
            return np.dtype(f"u{max(size, ids.itemsize)}")
        return ids

    def apply(self, stored: Volume, around: Surroundings) -> Volume:
        """Return the mask (bool) or the labels (unsigned) of values, shape (z, y, x).

        Raises
        ------
        MeaningUnknownError
            If the values cannot be what they are taken for.
        InvalidArgumentError
            If the participant's step returns something else than a mask, probabilities or labels of that shape.
        ProcessFuncError
            If it raises anything.
        """
        if not self.first:
            values = stored
            for step in self.steps:
                values = self._do(step, values, around)
            return values
        check_block(stored, self.meaning, instances=self.instances)
        values, steps = self._begin(stored), self.steps
        if steps and isinstance(steps[0], Threshold) and not self.meaning.is_label:
            assert steps[0].level is not None
            values, steps = above_threshold(stored, self.meaning.values, steps[0].level), steps[1:]
        for step in steps:
            values = self._do(step, values, around)
            if isinstance(step, Threshold) and values.dtype != bool and not self.instances:
                values = values > 0
        return values

    def _begin(self, stored: Volume) -> Volume:
        if self.meaning.is_label or (self.steps and isinstance(self.steps[0], Threshold)):
            return stored
        if self._keeps_logits:
            one = np.float32(self.meaning.values.one)
            logits: Volume = np.nan_to_num(stored.astype(np.float32) / one, nan=_UNKNOWN_LOGIT)
            return logits
        return decode(stored, self.meaning.values)

    @property
    def _keeps_logits(self) -> bool:
        """Whether the own step, first, wants stored logits, which lose their digits near 1 as probabilities."""
        own_first = bool(self.steps) and isinstance(self.steps[0], Own) and self.own is not None
        return own_first and self.own is not None and self.own.values == self.meaning.values.kind == "logit"

    def _do(self, step: Step, values: Volume, around: Surroundings) -> Volume:
        if isinstance(step, Own):
            return self._own(step, values, around)
        if isinstance(step, Smoothing):
            return values if self.meaning.is_label else smooth(values, step.sigma_nm, self.voxel_size)
        if isinstance(step, Threshold):
            assert step.level is not None
            is_number = np.issubdtype(values.dtype, np.floating) and not self.meaning.is_label
            return values > decoded_threshold(self.meaning.values, step.level) if is_number else values
        if isinstance(step, Opening):
            return values * open_mask(values > 0, step.radius_nm, self.voxel_size)
        if isinstance(step, Closing):
            return self._close(values, step.radius_nm)
        if isinstance(step, Inside | Outside | Union):
            return _with_others(step, values, around)
        if isinstance(step, Seeds):
            return find_seeds(values > 0, step.of, self.voxel_size, around.result_of).astype(values.dtype)
        assert isinstance(step, Flood)
        assert around.side is not None
        mask = around.side > 0
        if step.of.on == "probability":
            depth = decode(around.prediction(), self.meaning.values)
        else:
            depth = depths(mask, step.of, self.voxel_size, around.result_of)
        return flood(values, mask, depth, self.connectivity)

    def _close(self, values: Volume, radius_nm: float) -> Volume:
        if values.dtype != bool and values.max(initial=0) > 1:
            raise InvalidArgumentError("closing is for masks, and these are ids; put it before components")
        closed = close_mask(values > 0, radius_nm, self.voxel_size)
        return closed if values.dtype == bool else closed.astype(values.dtype)

    def _own(self, step: Own, given: Volume, around: Surroundings) -> Volume:
        assert self.own is not None
        shape = as_shape(given.shape)
        place = Place(class_name=self.class_name, voxel_size=self.voxel_size, begin=around.begin, shape=shape)
        others = [
            None if name == self.class_name else self._begin(around.prediction_of(name)) for name in step.together
        ]
        own = replace(self.own, parameters=dict(step.parameters))
        result = own(given, self.meaning, place, are_logits=self._keeps_logits, others=others)
        numbered = np.issubdtype(result.dtype, np.integer) and result.max(initial=0) > 1
        if numbered and self.instances and not self.alone and not self.meaning.is_label:
            raise InvalidArgumentError(
                "process_func returned ids, but numbers of one block mean nothing in the next; return a mask, or set "
                "block_shape to the shape of the whole crop"
            )
        most = np.iinfo(self.stored_dtype(given.dtype)).max
        if numbered and self.instances and result.max(initial=0) > most:
            raise InvalidArgumentError(f"process_func returned ids up to {result.max()}; they must be {most} at most")
        return result


def _with_others(step: Inside | Outside | Union, values: Volume, around: Surroundings) -> Volume:
    others = np.zeros(values.shape, dtype=bool)
    for name in step.of:
        others |= around.result_of(name) > 0
    if isinstance(step, Union):
        return np.where(others & (values == 0), values.dtype.type(1), values)
    return values * (others if isinstance(step, Inside) else ~others)
