"""The score of whole crops: post-processed, placed and scored by csc-eval, pooled as the leaderboard does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Triple
from csc_data.storage.stores.places import FolderStore
from csc_eval import DEFINITION, LabelScore, combine_scores, connected_components
from csc_eval.placing.align import is_instance_class
from csc_eval.placing.predictions import Prediction
from csc_eval.scoring.labels import LabelTask, score_prediction
from csc_eval.scoring.validation_truth import write_label
from csc_eval.voxels.arrays import MemoryArray
from csc_train.challenge_score.crops import Packed
from csc_train.challenge_score.plan import ALL, ScoredCrop, ScorePlan

RULES = DEFINITION
"""The leaderboard's formulas without its artefacts: there a crop full of specks costs nothing, and a class with nothing
else scores 1, so that the first epochs would be the best; and every mask of unknown voxels is a class that scores 0."""

Volume = npt.NDArray[Any]
PostProcess = Callable[[str, npt.NDArray[np.float32], Triple], Volume]
"""Makes a mask, or labels, of a class's name, its probabilities, shape (z, y, x), and the voxel size in nm."""

CropScores = dict[str, dict[str, LabelScore]]
"""Scores by crop and class."""


def cut_at_half(
    class_name: str,
    probabilities: npt.NDArray[np.float32],
    voxel_size: Triple,
    instance_classes: Collection[str] | None = None,
) -> Volume:
    """Return where probabilities are above a half; of instance classes, by default the challenge's, its components.

    Examples
    --------
    >>> probabilities = np.array([[[0.9, 0.2, 0.7]]], np.float32)
    >>> cut_at_half("er", probabilities, (8.0, 8.0, 8.0)).tolist()
    [[[True, False, True]]]
    >>> cut_at_half("mito", probabilities, (8.0, 8.0, 8.0)).tolist()
    [[[1, 0, 2]]]
    """
    mask = probabilities > 0.5
    instance = is_instance_class(class_name, instance_classes)
    return connected_components(mask.view(np.uint8))[0] if instance else mask


class CropScorer:
    """Scores classes of crops against truth, which it makes of the annotations when it first needs it.

    The truth lies in a temporary folder, compressed: labels as `csc_eval.scoring.validation_truth` makes them, at the
    annotation's own voxels, and masks where some are unknown. Predictions are placed on it as a submission's are.

    Parameters
    ----------
    post_process : PostProcess, optional
        `cut_at_half` by default.
    """

    def __init__(self, post_process: PostProcess | None = None) -> None:
        self._post_process = post_process
        self._folder: TemporaryDirectory[str] | None = None
        self._written: set[str] = set()

    def score(self, crop: ScoredCrop, class_name: str, values: Packed) -> LabelScore:
        """Score a class of a crop that is whole.

        Raises
        ------
        InvalidArgumentError
            If post-processing gives something else than a mask or labels of the same shape.
        CscError
            If the annotation cannot be read.
        """
        probabilities = values.astype(np.float32) / np.float32(255)
        post_process = self._post_process or partial(cut_at_half, instance_classes=crop.instances)
        found = np.asarray(post_process(class_name, probabilities, crop.grid.voxel_size))
        if found.shape != values.shape or found.dtype.kind not in "bui":
            raise InvalidArgumentError(
                f"post_process returned {found.dtype} {found.shape} for {class_name}; it must return a mask or labels "
                f"of the shape {values.shape}"
            )
        if found.dtype == bool:
            found = found.view(np.uint8)
        prediction = Prediction(
            voxels=MemoryArray(found), voxel_size=crop.grid.voxel_size, translation=crop.grid.translation
        )
        return score_prediction(self._task(crop, class_name), prediction)[0]

    def _task(self, crop: ScoredCrop, class_name: str) -> LabelTask:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="csc-validation-truth-")
        root, instance = Path(self._folder.name), class_name in crop.instances
        task = LabelTask(
            crop=str(crop.number),
            class_name=class_name,
            truth=FolderStore(root),
            submission=None,
            key="",
            instance=instance,
            rules=(RULES,),
        )
        if task.truth_key not in self._written:
            write_label(crop.annotations[class_name], root / task.truth_key, instance=instance)
            self._written.add(task.truth_key)
        return task

    def close(self) -> None:
        """Remove the truth."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
            self._written.clear()


def pool(plan: ScorePlan, scores: Mapping[str, Mapping[str, LabelScore]]) -> dict[str, float]:
    """Return the scores of an epoch by name, see `ScorePlan.names`; NaN where it has none."""
    values = dict.fromkeys(plan.names(), math.nan)
    combined = combine_scores(scores, rules=RULES)
    means = {True: combined.overall_instance_score, False: combined.overall_semantic_score}
    found = {instance: means[instance] for instance in {one.instance for one in combined.classes.values()}}
    for name, score in combined.classes.items():
        values[f"{ALL}/{name}"] = score.score
    for instance, mean in found.items():
        values[f"{ALL}/{'instance' if instance else 'semantic'}"] = mean
    if ALL in values and {name in plan.instances for name in plan.classes()} == found.keys():
        values[ALL] = combined.overall_score if len(found) == 2 else next(iter(found.values()))
    return values
