"""Tuning: values of post-processing that gain on crops that they were not chosen on.

Predictions and truth of one class at a time are in memory, with what the score needs of them: some 10 bytes a voxel of
the validation crops.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, Unpack, cast

from csc_data.config.arguments import split_names
from csc_data.config.experiment import Experiment, experiment_config, read_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.errors import InvalidArgumentError
from csc_data.splits.split_file import read_datasplit
from csc_submit.processing.calling import Source, as_process_settings
from csc_submit.settings import ProcessSettings
from csc_submit.tuning.crops import ValidationCrop, check_predicted, choose_classes, find_validation_crops
from csc_submit.tuning.one_class import predictions_read, tune_class
from csc_submit.tuning.results import TuneResult
from csc_submit.tuning.scores.held import RULES
from csc_submit.tuning.searching import Budget, load_optuna
from csc_submit.tuning.space import with_values
from csc_submit.tuning.starting import starting_settings

TRIALS = 250
"""Combinations of values that each choice tries: the plain settings of a class without objects have fewer."""

Progress = Callable[[int, int], None]


class TuneOptions(TypedDict, total=False):
    """Keywords of `tune`.

    Attributes
    ----------
    datasplit : path-like
        Which crops validate; ``datasplit.csv`` of the data folder by default.
    trials : int
        Combinations of values that each choice tries, 250 by default.
    seconds : float
        Time to stop after; without, the same is found each time.
    seed : int
    """

    datasplit: str | os.PathLike[str] | None
    trials: int | None
    seconds: float | None
    seed: int | None


def tune(
    experiment_or_settings: Source,
    classes: Sequence[str] | str | None = None,
    *,
    config: Config | None = None,
    progress: Progress | None = None,
    **options: Unpack[TuneOptions],
) -> TuneResult:
    """Find thresholds, sizes and parameters of steps on the crops that validate, by the official score.

    A value is taken if it gains where it was not chosen: crops are left out in turn, and where fewer than four hold a
    class, blocks of them. Otherwise that of the experiment stays; an experiment that says nothing of
    post-processing begins with what `csc_submit.suggesting` suggests. A ``process_func`` gets each crop in one piece;
    those of its keyword arguments are tried that have ``process_ranges``.

    Parameters
    ----------
    experiment_or_settings : path, Experiment or ProcessSettings
    classes : sequence of str, or str with commas, optional
        The classes to tune; by default all of the experiment that somebody annotated in a validation crop.
    config : csc_data.config.user_config.Config, optional
        Where predictions and the datasplit lie; the user's by default.
    progress : callable, optional
        Called with the finished and all classes.
    **options : object
        `TuneOptions`.

    Raises
    ------
    MissingPackageError
        If Optuna is not installed.
    MissingDataError
        If no crop validates, or predictions or truth are missing.
    InvalidArgumentError
        If the experiment lacks a class, or an option is out of range.
    ProblemsError
        If settings are wrong.
    """
    load_optuna()
    config = config or load_config()
    given = {name: value for name, value in options.items() if value is not None}
    trials, seconds = cast("int", given.get("trials", TRIALS)), cast("float", given.get("seconds", math.inf))
    if trials < 1 or seconds <= 0:
        raise InvalidArgumentError(f"trials and seconds must be above 0, got {trials} and {seconds}")
    source = experiment_or_settings
    if not isinstance(source, ProcessSettings | Experiment):
        source = read_experiment(Path(source))
    if isinstance(source, Experiment):
        config = experiment_config(source, config)
    settings = as_process_settings(source, config)
    rows = read_datasplit(options.get("datasplit") or config.path("datasplit"), config.root)
    crops = find_validation_crops(rows, config)
    names = choose_classes(crops, split_names(classes), settings.classes, settings.class_table)
    check_predicted(crops, names, str(source.path) if isinstance(source, Experiment) else "CONFIG")
    settings, remarks = starting_settings(source, settings, rows, names)
    if settings.process_func is not None and not settings.process_ranges:
        remarks = (*remarks, "process_func stays as it is: process_ranges would say which of its arguments to try")
    began, entries = time.monotonic(), []
    # What others read is tuned before them.
    order = sorted(names, key=lambda name: len(predictions_read(settings, name, _annotated(crops, name))))
    for number, name in enumerate(order):
        left = (seconds - (time.monotonic() - began)) / (len(order) - number)
        budget = Budget(trials=trials, deadline=time.monotonic() + left, seed=options.get("seed") or 0)
        entry = tune_class(name, _annotated(crops, name), settings, budget)
        settings = with_values(settings, name, {changed: entry.after[changed] for changed in entry.changes})
        entries.append(entry)
        if progress is not None:
            progress(number + 1, len(order))
    return TuneResult(
        settings=settings,
        classes=tuple(sorted(entries, key=lambda entry: names.index(entry.class_name))),
        remarks=remarks,
        rules=RULES.name,
    )


def _annotated(crops: Sequence[ValidationCrop], class_name: str) -> list[ValidationCrop]:
    return [crop for crop in crops if class_name in crop.classes]
