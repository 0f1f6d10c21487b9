"""The score of a class for given settings: from tables where they are exact, else by really processing and packing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import ByteCache
from csc_data.volumes.channels import class_of_channel
from csc_eval import LabelScore, combine_scores
from csc_submit.packing.arrays import pack_array
from csc_submit.packing.cutting import cut_between
from csc_submit.packing.fitting import FitPlan, open_fitted
from csc_submit.processing.arrays import process_arrays
from csc_submit.processing.own_function import own_step
from csc_submit.processing.passes import steps_for
from csc_submit.settings import ProcessSettings
from csc_submit.steps.declared import Components, ObjectStep, Step, Threshold
from csc_submit.tuning.scores.held import RULES, HeldCrop
from csc_submit.tuning.scores.tables import ObjectTable, ThresholdTable, has_threshold_table
from csc_submit.values import as_probabilities

Array = npt.NDArray[Any]
Steps = tuple[Step, ...]
Scores = Mapping[str, LabelScore]
"""Scores of one class, by the names of parts of crops."""

_TABLE_BYTES = 1 << 30
"""How much of tables is kept: those that were asked for last."""


def pooled(class_name: str, scores: Sequence[LabelScore]) -> float:
    """Return the score of a class over parts of crops, pooled as the leaderboard pools crops.

    Examples
    --------
    >>> from csc_eval.scoring.results import LabelScore
    >>> pooled("er", [LabelScore(instance=False, tp=80, fp=10, fn=10), LabelScore(instance=False, tp=20, fp=80, fn=0)])
    0.5
    """
    parts = {str(number): {class_name: score} for number, score in enumerate(scores)}
    return combine_scores(parts, rules=RULES).classes[class_name].score


class ClassScorer:
    """Scores settings for one class in all its crops; the same steps only once.

    Parameters
    ----------
    class_name : str
    crops : sequence of HeldCrop
    settings : ProcessSettings
        What holds for other classes whose results are read.
    levels : sequence of float
        The thresholds that will be asked for.
    """

    def __init__(
        self, class_name: str, crops: Sequence[HeldCrop], settings: ProcessSettings, levels: Sequence[float]
    ) -> None:
        self.class_name, self.crops = class_name, tuple(crops)
        self._settings, self._levels = settings, tuple(levels)
        self._is_instance, self._own = class_name in settings.class_table.instances, own_step(settings)
        self._scores: dict[tuple[Steps, ...], Scores] = {}
        self._tables: ByteCache[ThresholdTable | ObjectTable] = ByteCache(_TABLE_BYTES)

    def score(self, settings: ProcessSettings) -> Scores:
        """Return the score of each part, with the steps that settings have for the class."""
        steps = tuple(
            steps_for(settings, self.class_name, crop.grid.voxel_size, self._own, crop.known) for crop in self.crops
        )
        if steps not in self._scores:
            found: dict[str, LabelScore] = {}
            for number, crop in enumerate(self.crops):
                scores = self._score_crop(number, steps[number])
                found.update(zip((part.name for part in crop.parts), scores, strict=True))
            self._scores[steps] = found
        return self._scores[steps]

    def _score_crop(self, number: int, steps: Steps) -> list[LabelScore]:
        crop, last = self.crops[number], steps[-1]
        if self._is_instance and isinstance(last, Components):
            begin = next(n for n in range(len(steps), -1, -1) if not n or not isinstance(steps[n - 1], ObjectStep))
            return self._object_table(number, (*steps[:begin], Components())).score(steps[begin:])
        if not self._is_instance and isinstance(last, Threshold) and has_threshold_table(crop, steps):
            assert last.level is not None
            found = self._threshold_table(number, (*steps[:-1], Threshold())).score(last.level)
            if found is not None:
                return found
        packed = self._pack(crop, self._process(crop, steps))
        return [part.score(packed) for part in crop.parts]

    def _threshold_table(self, number: int, steps: Steps) -> ThresholdTable:
        table = self._tables.find((number, steps))
        if not isinstance(table, ThresholdTable):
            table = ThresholdTable(self.crops[number], steps, self._levels)
            self._tables.keep((number, steps), table, table.nbytes)
        return table

    def _object_table(self, number: int, steps: Steps) -> ObjectTable:
        table = self._tables.find((number, steps))
        if not isinstance(table, ObjectTable):
            crop = self.crops[number]
            labels = self._process(crop, steps)
            table = ObjectTable(crop, labels, self._pack(crop, labels))
            self._tables.keep((number, steps), table, table.nbytes)
        return table

    def _process(self, crop: HeldCrop, steps: Steps) -> Array:
        classes = [name for name in crop.others if class_of_channel(name) is None]
        listed: dict[str, Any] = {name: self._settings.step_list(name) for name in classes}
        own = {name: list(entries) for name, entries in listed.items() if entries is not None}
        settings = dataclasses.replace(self._settings, steps={**own, self.class_name: list(steps)})
        values = {**crop.others, self.class_name: crop.stored}
        found = process_arrays(values, settings, voxel_size=crop.grid.voxel_size, stored=crop.meaning.values)
        return found[self.class_name]

    def _pack(self, crop: HeldCrop, processed: Array) -> Array:
        """Return what `csc_submit.pack_results` makes of a result whose prediction was kept."""
        cut = None
        if not self._is_instance and crop.is_resampled and not crop.packed_meaning.is_label:
            cut = cut_between([(processed > 0, as_probabilities(crop.stored, crop.packed_meaning.values))])
        if cut is None:
            # The portal, which packing is for, has no classes of one's own.
            kind = "instance" if self._is_instance else self.class_name
            return pack_array(processed, crop.grid, crop.target, kind)
        plan = FitPlan(
            crop=crop.target,
            class_name=self.class_name,
            source=crop.place.predictions[self.class_name],
            target=Path(),
            meaning=crop.packed_meaning,
            threshold=cut,
            instances=False,
            covered=1.0,
            level=crop.packed_level,
            made_with={},
        )
        return np.asarray(open_fitted(plan).read((0, 0, 0), crop.target.shape))
