"""Whose checkpoints lie where a run would keep its own."""

from __future__ import annotations

from pathlib import Path

from csc_data.errors import CscError, ExistingOutputError
from csc_data.formats.writing import read_json
from csc_train.checkpoints import list_checkpoints, resume_path
from csc_train.logs.run_files import RUN_RECORD
from csc_train.settings import TrainSettings
from csc_train.training.hooks.logs_folder import logs_folder


def check_own(settings: TrainSettings, experiment: Path | None) -> None:
    """Check that the checkpoints that a run would go on from are not those of another experiment file.

    A file that was renamed or moved is not another one: the other must still be there, under another name.

    Raises
    ------
    ExistingOutputError
        If they are.
    """
    template, name = settings.model_save_path, settings.model_name
    if experiment is None or isinstance(settings.load_model, Path):
        return
    if not list_checkpoints(template, name) and not resume_path(template, name).is_file():
        return
    try:
        recorded = read_json(logs_folder(settings) / RUN_RECORD).get("experiment")
    except CscError:  # of a disk that was full, or a copy that was broken off
        return
    if recorded and Path(recorded).name != experiment.name and Path(recorded).is_file():
        raise ExistingOutputError(
            f"the checkpoints of {name} are those of {recorded}, another experiment: choose another model_name, or a "
            "folder of its own for this one, -e NAME; to go on with them say --resume PATH of one"
        )
