"""Training for so many CPU seconds: how many iterations that is."""

from __future__ import annotations

import tempfile
import time

from csc_data.config.user_config import Config
from csc_train import TrainProgress, TrainSettings, train
from csc_train.settings import read_train_settings

TRIED = 16  # iterations, to find out what one takes


def fit_to_time(settings: TrainSettings, config: Config, seconds: float) -> TrainSettings:
    """Return the settings with as many iterations as take these CPU seconds."""
    marks: list[float] = []

    def mark(state: TrainProgress) -> None:
        if state.stage == "train":
            marks.append(time.process_time())

    limit = max(1, round((settings.validation_batch_limit or 8) * TRIED / settings.iterations_per_epoch))
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        train(
            settings,
            config=config,
            progress=mark,
            epochs=1,
            iterations_per_epoch=TRIED,
            validation_batch_limit=limit,
            model_save_path=f"{folder}/{{model_name}}_{{epoch}}.pth",
            logs_save_path=f"{folder}/logs",
        )
        ended = time.process_time()
    half = len(marks) // 2  # the first ones read data and choose kernels
    each = (marks[-1] - marks[half]) / (len(marks) - 1 - half)
    start = max(0.0, marks[half] - began - half * each)
    validation = (ended - marks[-1]) / limit * (settings.validation_batch_limit or limit)
    iterations = ((seconds - start) / settings.epochs - validation) / each
    return read_train_settings(settings, iterations_per_epoch=max(1, round(iterations)))
