"""`predict`: from a checkpoint to the predictions of all test crops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from csc_data.blocks import Existing
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.experiment import is_being_read
from csc_data.config.user_config import Config, load_config
from csc_data.errors import CscError, Problem
from csc_data.splits.crops import validation_crops
from csc_data.splits.split_file import read_datasplit
from csc_train.overrides import PredictOverrides
from csc_train.prediction.crops import CropPredictor
from csc_train.prediction.predictor import Predictor, load_predictor
from csc_train.prediction.results import (
    CropPrediction,
    IncompletePredictionError,
    PredictCallback,
    PredictProgress,
    PredictResult,
)
from csc_train.prediction.source import NetworkSource
from csc_train.prediction.window.tiling import windows_of
from csc_train.settings import TrainSettings

VALIDATION = "validation"
"""Stands for the validation crops of the datasplit where crops are named."""


def predict(
    experiment_or_checkpoint: str | PathLike[str] | TrainSettings,
    *,
    config: Config | None = None,
    crops: Sequence[str] | None = None,
    existing: Existing = "resume",
    progress: PredictCallback | None = None,
    **overrides: Unpack[PredictOverrides],
) -> PredictResult:
    """Predict the test crops of the data folder.

    Each class of the network is written for each crop, as an OME-Zarr volume at the voxel size of the network's targets
    that covers the crop (``{data}/predictions/{dataset}.zarr/crop{id}/{class}``). A run that was stopped goes on where
    it stopped, and ends with the same bytes. Networks for flat patches predict the planes across z, y and x; the mean
    is stored.

    Parameters
    ----------
    experiment_or_checkpoint : path-like or TrainSettings
        An experiment (.py, .toml, or settings), whose best checkpoint predicts unless it says otherwise; or a
        checkpoint file, which knows all that is needed.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default.
    crops : sequence of str, optional
        Which test crops, such as ``crop557`` or ``557``; ``validation`` stands for the validation crops of the
        datasplit. Those of the experiment, else all test crops, by default.
    existing : {"resume", "refuse", "overwrite"}
        What to do with output that is there.
    progress : callable, optional
        Called with a `PredictProgress` after each block.
    **overrides : object
        Settings of `PredictSettings` that go before those of the experiment; None leaves them.

    Returns
    -------
    PredictResult

    Raises
    ------
    NoCheckpointError
        If there is no checkpoint; predicting with random weights must be asked for.
    IncompletePredictionError
        If some crops could not be predicted, with the reasons; the others are done.
    CscError, csc_models.ModelError
        If settings, checkpoint or data cannot be used at all.
    """
    if isinstance(experiment_or_checkpoint, str | PathLike) and is_being_read(Path(experiment_or_checkpoint)):
        return PredictResult(checkpoint=None, classes=(), crops=(), problems=(), seconds=0.0)
    started = time.perf_counter()
    config = config or load_config()
    predictor = load_predictor(experiment_or_checkpoint, **overrides)
    settings = predictor.settings
    windows_of(predictor.patch, settings)  # what does not go together is told before any crop
    chosen = _choose_crops(crops if crops is not None else settings.crops, predictor, config)
    # A crop that fails must not cost the others: its error is reported with those of all, at the end.
    done: list[CropPrediction] = []
    problems: list[Problem] = []
    crop_predictor = CropPredictor(source=NetworkSource(given=predictor), config=config, existing=existing)
    for number, crop in enumerate(chosen, start=1):
        try:
            done.append(crop_predictor.predict(crop, _reporter(progress, crop, number, len(chosen))))
        except CscError as error:
            problems.append(Problem(where=f"{crop.dataset}/crop{crop.id}", what=str(error)))
    result = PredictResult(
        checkpoint=predictor.checkpoint,
        classes=predictor.classes,
        crops=tuple(done),
        problems=tuple(problems),
        seconds=time.perf_counter() - started,
    )
    if problems:
        raise IncompletePredictionError(result)
    return result


def _choose_crops(wanted: Sequence[str] | None, predictor: Predictor, config: Config) -> tuple[TestCrop, ...]:
    """Return the test crops that are named, and those that validate where ``validation`` is among the names."""
    if wanted is None or VALIDATION not in wanted:
        return select_crops(load_test_crops(config), wanted)
    validating = validation_crops(read_datasplit(predictor.datasplit or config.path("datasplit")))
    others = [name for name in wanted if name != VALIDATION]
    return (*validating, *select_crops(load_test_crops(config), others))


def _reporter(progress: PredictCallback | None, crop: TestCrop, number: int, crops: int) -> Any:
    if progress is None:
        return None

    def report(done: int, blocks: int) -> None:
        progress(PredictProgress(crop=f"crop{crop.id}", number=number, crops=crops, done=done, blocks=blocks))

    return report
