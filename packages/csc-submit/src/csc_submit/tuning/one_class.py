"""Tuning of one class: its crops are read, their parts scored, and what gains is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from csc_data.errors import MissingDataError
from csc_data.wording import listed, plural
from csc_eval import LabelScore
from csc_submit.processing.own_function import own_step
from csc_submit.processing.passes import steps_for
from csc_submit.settings import ProcessSettings
from csc_submit.tuning.choosing import ScoreBook, make_folds
from csc_submit.tuning.crops import ValidationCrop
from csc_submit.tuning.results import TunedClass
from csc_submit.tuning.scores.dividing import ENOUGH_CROPS, divide, whole
from csc_submit.tuning.scores.held import HeldCrop, Truth, hold_crop, read_truth
from csc_submit.tuning.scores.scoring import ClassScorer
from csc_submit.tuning.searching import Budget, find_values
from csc_submit.tuning.space import ClassFigures, Parameter, Point, Value, find_parameters, with_values

_ERRORS = 1.0
"""Standard errors that a gain must have where whole crops are left out."""

_ERRORS_OF_BLOCKS = 2.0
"""The same of blocks, which resemble each other more than other crops will."""

_NO_GAIN = "nothing gains where it was not chosen"
_AS_GOOD = "over all crops about as good as the best"


def tune_class(
    class_name: str, crops: Sequence[ValidationCrop], settings: ProcessSettings, budget: Budget
) -> TunedClass:
    """Tune one class.

    Parameters
    ----------
    class_name : str
    crops : sequence of ValidationCrop
        Those in which somebody annotated it.
    settings : ProcessSettings
        What it begins with.
    budget : Budget

    Raises
    ------
    CscError
        If a prediction or an annotation cannot be read.
    """
    instance = class_name in settings.class_table.instances
    truths = [read_truth(crop, class_name, instance=instance) for crop in crops]
    holding = sum(bool(truth.values.any()) for truth in truths)
    if not holding:
        return _kept(class_name, f"no validation crop holds any (of {plural(len(crops), 'crop')} annotated)")
    in_blocks = holding < ENOUGH_CROPS
    others = predictions_read(settings, class_name, crops)
    held = [
        hold_crop(
            crop,
            class_name,
            others,
            settings,
            (truth, divide(truth.target.shape, holding) if in_blocks else whole(truth.target.shape)),
        )
        for crop, truth in zip(crops, truths, strict=True)
    ]
    parameters = find_parameters(settings, class_name, _figures(held, truths))
    if not parameters:
        return _kept(class_name, "its steps have no numbers to tune")
    parts = [part for crop in held for part in crop.parts]
    folds = make_folds([p.name for p in parts if p.holds_class], [p.name for p in parts if not p.holds_class])
    book = ScoreBook(class_name, parameters, folds, _scoring(class_name, held, settings, parameters))
    score = book.pooled(book.default, tuple(range(len(folds))))
    before = dict(zip((p.name for p in parameters), book.default, strict=True))
    if len(folds) < ENOUGH_CROPS:
        reason = f"only {plural(len(folds), 'block')} of validation crops hold any, too few to tell"
        return _kept(class_name, reason, score=score, before=before)
    found = find_values(book, budget, _ERRORS_OF_BLOCKS if in_blocks else _ERRORS)
    return TunedClass(
        class_name=class_name,
        score=score,
        gain=found.gain,
        before=before,
        after=dict(zip(before, found.point, strict=True)),
        gains=found.parameters,
        points=len(book),
        blocks=in_blocks,
        reason="" if found.point != book.default else _AS_GOOD if found.holds else _NO_GAIN,
    )


def _kept(
    class_name: str, reason: str, *, score: float = math.nan, before: Mapping[str, Value] | None = None
) -> TunedClass:
    values = dict(before or {})
    return TunedClass(
        class_name=class_name,
        score=score,
        gain=None,
        before=values,
        after=values,
        gains={},
        points=0,
        blocks=False,
        reason=reason,
    )


def predictions_read(settings: ProcessSettings, class_name: str, crops: Sequence[ValidationCrop]) -> tuple[str, ...]:
    """Return the other predictions that the steps of a class need: of classes whose results they read, directly or
    through others, and affinities.

    Raises
    ------
    MissingDataError
        If one of them is not there in a crop.
    """
    found: dict[str, None] = {}
    own = own_step(settings)
    for crop in crops:
        known = crop.known(settings)
        queue = [class_name]
        while queue:
            # Which are read does not depend on the voxel size.
            name = queue.pop()
            steps = steps_for(settings, name, (1.0, 1.0, 1.0), own, known)
            classes = [read for step in steps for read in step.reads if read not in found and read != class_name]
            beside = [other for step in steps for other in step.channels(name) if other != class_name]
            needed = [*classes, *beside]
            missing = [other for other in needed if other not in crop.predictions]
            if missing:
                raise MissingDataError(
                    f"the steps of {class_name} read {listed(missing)}, not predicted in {crop.key}; "
                    f"`csc predict CONFIG -c validation --classes {','.join(missing)}` does it"
                )
            found |= dict.fromkeys(needed)
            queue += classes
    return tuple(found)


def _figures(crops: Sequence[HeldCrop], truths: Sequence[Truth]) -> ClassFigures:
    instances = any(truth.instance for truth in truths)
    volumes: list[float] = []
    for truth in truths if instances else ():
        sizes = np.bincount(truth.values.ravel())[1:]
        volumes += (sizes[sizes > 0] * math.prod(truth.target.voxel_size)).tolist()
    return ClassFigures(
        voxel_size=crops[0].grid.voxel_size,
        volumes_nm3=volumes,
        instances=instances,
        is_label=any(crop.meaning.is_label for crop in crops),
    )


def _scoring(
    class_name: str, crops: Sequence[HeldCrop], settings: ProcessSettings, parameters: Sequence[Parameter]
) -> Callable[[Point], Mapping[str, LabelScore]]:
    """Return what scores the parts of crops at a point."""
    names = [parameter.name for parameter in parameters]
    levels = [float(v) for p in parameters if p.name.endswith(("threshold", "level")) for v in p.values]
    # A list of steps may have a threshold that is not tuned.
    scorer = ClassScorer(class_name, crops, settings, sorted({settings.for_class(class_name).threshold, *levels}))

    def score(point: Point) -> Mapping[str, LabelScore]:
        return scorer.score(with_values(settings, class_name, dict(zip(names, point, strict=True))))

    return score
