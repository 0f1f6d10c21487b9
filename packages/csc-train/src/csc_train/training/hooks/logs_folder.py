"""The folder of a run's logs, as a run finds it."""

from __future__ import annotations

import logging
from pathlib import Path

from csc_train.logs.event_files import cut_events, event_files
from csc_train.logs.run_files import METRICS, RUN_RECORD
from csc_train.settings import TrainSettings
from csc_train.training.run import Run

logger = logging.getLogger(__name__)

PER_STEP = frozenset({"loss", "lr", "gradient_norm", "samples_per_second", "data_wait"})
"""Tags that have a point for each step; all others have one for each epoch."""


def logs_folder(settings: TrainSettings) -> Path:
    """Return where the logs of a run go."""
    return Path(settings.logs_save_path.format(model_name=settings.model_name)).expanduser()


def batches_done(run: Run) -> int:
    """Return the batches of all epochs so far, the step of TensorBoard's points."""
    return run.state.batches


def prepare_logs(run: Run) -> None:
    """Bring the folder to where the run is.

    A run that goes on takes out what an earlier one logged after the checkpoint: it is going to be logged again. A new
    run sets aside what one of the same name left, in a folder of its own, if that finished an epoch.
    """
    folder = logs_folder(run.settings)
    if run.resumed_from is not None:
        last_step = batches_done(run)
        last_epoch = last_step - run.state.iteration
        cut_events(folder, lambda tag, step: step <= (last_step if tag in PER_STEP else last_epoch))
        return
    found = [*event_files(folder), *(folder / name for name in (METRICS, RUN_RECORD) if (folder / name).exists())]
    if not found:
        return
    if (folder / RUN_RECORD).exists() and not (folder / METRICS).exists():
        for file in found:
            file.unlink()
        return
    number = 1 + max([0, *(_number(path) for path in folder.glob("earlier_*"))])
    aside = folder / f"earlier_{number}"
    aside.mkdir()
    for file in found:
        file.replace(aside / file.name)
    logger.warning("the logs that an earlier run left in %s are now in %s", folder, aside)


def _number(path: Path) -> int:
    text = path.name.removeprefix("earlier_")
    return int(text) if text.isdigit() else 0
