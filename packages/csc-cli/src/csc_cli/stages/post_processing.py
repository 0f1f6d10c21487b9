"""Post-processing while a network trains, as ``csc process`` will do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csc_cli.console import say

if TYPE_CHECKING:
    from csc_data.config.experiment import Experiment
    from csc_data.config.user_config import Config
    from csc_data.geometry import Triple
    from csc_train.challenge_score.scoring import PostProcess


def post_processing(experiment: Experiment, config: Config) -> PostProcess | None:
    """Return what `csc_train.train` is to do with probabilities; None, said in a line, if the settings have mistakes.

    What is wrong with names that training reads as well, it says itself.

    Probabilities become whole steps of 1/255 again, as ``csc predict`` stores them, so that a threshold cuts the same.
    """
    from csc_data.errors import ProblemsError
    from csc_data.volumes.stored_values import StoredValues
    from csc_submit import ProcessSettings, process_array
    from csc_submit.processing.calling import as_process_settings
    from csc_train import TrainSettings

    try:
        settings = as_process_settings(experiment, config)
    except ProblemsError as error:
        own_names = ProcessSettings.__dataclass_fields__.keys() - TrainSettings.__dataclass_fields__.keys()
        own = [problem for problem in error.problems if problem.where.partition(".")[0] in own_names]
        if own:
            error = ProblemsError(error.subject, own)
            say(f"scores in training go by a threshold of 0.5, as csc process will not run: {error}")
        return None
    stored = StoredValues(kind="probability", one=255)

    def post_process(class_name: str, probabilities: npt.NDArray[np.float32], voxel_size: Triple) -> npt.NDArray[Any]:
        packed = np.rint(probabilities * 255).astype(np.uint8)
        return process_array(packed, class_name, settings, voxel_size=voxel_size, stored=stored)

    return post_process
