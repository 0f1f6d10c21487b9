"""Scores from tables: of all thresholds from one count of values, and of all sizes from one labelling.

They are exact: the score is that of processing, packing and scoring with the same parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Triple
from csc_eval import LabelScore
from csc_eval.instances.components import Instances, keep_components
from csc_eval.placing.align import align_values
from csc_eval.placing.predictions import CropGrid, Prediction
from csc_eval.voxels.arrays import MemoryArray
from csc_submit.packing.cutting import cut_between
from csc_submit.processing.local.filters import smooth
from csc_submit.processing.passes import kept_objects
from csc_submit.steps.declared import Smoothing, Step, Threshold
from csc_submit.tuning.scores.held import RULES, HeldCrop, Part
from csc_submit.values import above_threshold, as_probabilities, decode, decoded_threshold

Array = npt.NDArray[Any]


class ThresholdTable:
    """How many voxels of the class, and of what is not, lie above each of some thresholds, on the grid of the crop.

    Parameters
    ----------
    crop : HeldCrop
    steps : sequence of Step
        A threshold, and perhaps smoothing before it; which threshold does not matter.
    levels : sequence of float
        The thresholds, as probabilities.
    """

    def __init__(self, crop: HeldCrop, steps: Sequence[Step], levels: Sequence[float]) -> None:
        self._crop = crop
        meaning, first = crop.meaning.values, steps[0]
        if isinstance(first, Smoothing):
            values = smooth(decode(crop.stored, meaning), first.sigma_nm, crop.grid.voxel_size)
        elif crop.is_resampled:
            values = as_probabilities(crop.stored, meaning)
        else:
            values = crop.stored.astype(np.float32 if crop.stored.dtype.itemsize < 4 else np.float64)
        self._compared = dict(zip(levels, _compared(crop, levels, smoothed=isinstance(first, Smoothing)), strict=True))
        edges = np.unique([value for value in self._compared.values() if value is not None])
        self._places = {float(edge): n for n, edge in enumerate(edges)}
        placed = _placed(crop, values)
        self._counts = [_count(part, placed, edges) for part in crop.parts]
        self.nbytes = sum(column.nbytes for columns in self._counts for column in columns)

    def score(self, level: float) -> list[LabelScore] | None:
        """Return the score of each part at a threshold; None where processing and packing would not just cut."""
        value = self._compared[level]
        if value is None:
            return None
        scores = []
        for part, (inside, outside) in zip(self._crop.parts, self._counts, strict=True):
            place = self._places[value]
            tp, truth = int(inside[place]), part.truth
            assert not isinstance(truth, Instances)
            scores.append(part.score_counts((tp, int(outside[place]), int(np.count_nonzero(truth)) - tp)))
        return scores


def _compared(crop: HeldCrop, levels: Sequence[float], *, smoothed: bool) -> list[float | None]:
    """Return what the values on the crop's grid are compared with at each threshold, in the type in which that is done.

    None where packing would take the mask, as it does not part the values of the prediction.
    """
    meaning = crop.meaning.values
    if smoothed:
        return [float(np.float32(decoded_threshold(meaning, level))) for level in levels]
    if not crop.is_resampled:
        return [meaning.stored_threshold(level) for level in levels]
    stored = np.unique(crop.stored)
    with np.errstate(invalid="ignore"):  # of a NaN alone NumPy says more than of one among many
        values = as_probabilities(stored, meaning)
    cuts = [cut_between([(above_threshold(stored, meaning, level), values)]) for level in levels]
    return [None if cut is None else float(np.float32(cut)) for cut in cuts]


def has_threshold_table(crop: HeldCrop, steps: Sequence[Step]) -> bool:
    """Tell whether the scores of steps come from a `ThresholdTable`; for semantic classes."""
    if crop.meaning.is_label or not steps or not isinstance(steps[-1], Threshold) or len(steps) > 2:
        return False
    if not crop.is_resampled:
        return len(steps) == 1 or isinstance(steps[0], Smoothing)
    # Where a mask is a threshold of the prediction, packing resamples this, from the level that suits the crop.
    return (
        len(steps) == 1 and crop.packed_meaning.values == crop.meaning.values and crop.packed_level == crop.level.name
    )


def _placed(crop: HeldCrop, values: Array) -> Array:
    prediction = Prediction(
        voxels=MemoryArray(values), voxel_size=crop.grid.voxel_size, translation=crop.grid.translation
    )
    target = CropGrid(voxel_size=crop.target.voxel_size, translation=crop.target.translation, shape=crop.target.shape)
    return align_values(prediction, target, rules=RULES).read((0, 0, 0), target.shape)


def _count(part: Part, placed: Array, edges: Array) -> tuple[Array, Array]:
    """Return how many voxels of the class, and of the rest, lie above each value."""
    values, truth = placed[part.box], part.truth
    assert not isinstance(truth, Instances)
    outside = ~truth if part.known is None else ~truth & part.known

    def above(chosen: Array) -> Array:
        places = np.searchsorted(edges, chosen[~np.isnan(chosen)])
        counts = np.bincount(places, minlength=len(edges) + 1)
        cumulated: Array = np.cumsum(counts[::-1])[::-1][1:]
        return cumulated

    return above(values[truth]), above(values[outside])


class ObjectTable:
    """The objects of a class, each with the size that it has in the whole prediction.

    Parameters
    ----------
    crop : HeldCrop
    labels : array
        What processing makes of the prediction without steps that remove objects: ids from 1 on.
    packed : array
        The same on the grid of the crop.
    """

    def __init__(self, crop: HeldCrop, labels: Array, packed: Array) -> None:
        self._crop = crop
        self._sizes = np.bincount(labels.ravel())[1:]
        self._voxel_size: Triple = crop.grid.voxel_size
        self._found: list[tuple[Instances, Array]] = []
        for part in crop.parts:
            objects = part.find_objects(packed)
            owner = np.zeros(objects.count + 1, np.int64)
            owner[objects.label] = objects.runs.key.astype(np.int64)
            self._found.append((objects, owner[1:] - 1))
        self.nbytes = self._sizes.nbytes + sum(_bytes(objects) + owner.nbytes for objects, owner in self._found)

    def score(self, steps: Sequence[Step]) -> list[LabelScore]:
        """Return the score of each part after steps that remove objects."""
        kept = kept_objects(steps, self._sizes, self._voxel_size)
        return [
            part.score_objects(keep_components(objects, kept[owner]))
            for part, (objects, owner) in zip(self._crop.parts, self._found, strict=True)
        ]


def _bytes(objects: Instances) -> int:
    runs = objects.runs
    arrays = (runs.line_ptr, runs.start, runs.stop, runs.key, objects.label, objects.ids, objects.size, objects.sums)
    return sum(array.nbytes for array in arrays)
