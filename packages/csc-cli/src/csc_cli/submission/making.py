"""`submit`: from an experiment to the file to upload, crop by crop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from csc_cli.submission.crop import CropWork
from csc_cli.submission.disk import DiskBudgetError, used_bytes
from csc_cli.submission.options import SubmitOptions
from csc_cli.submission.plan import SubmitPlan, make_plan, process_settings, submit_folders
from csc_cli.submission.results import SubmitResult, Watch
from csc_cli.submission.running_alone import running_alone
from csc_cli.submission.working import SubmitWorkers
from csc_data.blocks import Existing
from csc_data.blocks.output import remove_partial_files
from csc_data.config.experiment import Experiment, experiment_config, is_being_read, read_experiment
from csc_data.config.user_config import Config, load_config
from csc_data.errors import CscError
from csc_data.storage.room import full_disk_told
from csc_data.wording import format_bytes
from csc_eval import SubmissionScore, score_submission, validate_submission
from csc_submit.packing.archive import write_zip


def submit(
    experiment: str | os.PathLike[str],
    crops: Sequence[str] | None = None,
    *,
    config: Config | None = None,
    options: SubmitOptions | None = None,
    watch: Watch | None = None,
) -> SubmitResult:
    """Predict, process, pack and validate test crops, one after the other, and zip them.

    A run that ended early is gone on with by the same call, and gives the same bytes.

    Parameters
    ----------
    experiment : path-like
        An experiment, a checkpoint, or the name of published weights, as `csc_train.predict` takes them.
    crops : sequence of str, optional
        Test crops by id; all by default.
    config : csc_data.config.user_config.Config, optional
        Where data lies; the user's by default.
    options : SubmitOptions, optional
    watch : Watch, optional
        Is told of the work.

    Returns
    -------
    SubmitResult
        With what failed: a crop that fails does not cost the others.

    Raises
    ------
    AlreadyRunningError
        If another process makes the same submission.
    DiskBudgetError
        If a crop takes more room than there may be, before the first block; or if what is packed leaves none for one.
    DiskFullError
        If the disk is full before the end. What is done stays.
    ExistingOutputError
        If the submission holds crops that must not be changed, or that were made with something else.
    CscError, csc_models.ModelError
        If settings, checkpoint or data cannot be used at all.
    """
    began = time.perf_counter()
    source, config = os.fspath(experiment), config or load_config()
    options, watch = options or SubmitOptions(), watch or Watch()
    if is_being_read(Path(source)):
        return SubmitResult(archive=None, crops=(), validation=None, score=None, seconds=0.0)
    read, config = _read(source, config)
    folders = submit_folders(config, options)
    with full_disk_told(folders.work), running_alone(folders.running):
        plan = make_plan(source, crops, process_settings(read, options, config), folders, options)
        watch.planned(plan)
        plan.check(options.existing)
        _begin(plan, options.existing)
        with SubmitWorkers(source, plan, options) as workers:
            outcomes = [
                CropWork(plan=plan, options=options, workers=workers, watch=watch, task=task).run()
                for task in plan.tasks
            ]
        folders.tidy(plan.record.crops)
        archive = _zip(plan)
        validation = None if archive is None else validate_submission(archive, config=config)
        score, unscored = (None, "") if archive is None else _score(archive, config, options)
    return SubmitResult(
        archive=archive,
        crops=tuple(outcomes),
        validation=validation,
        score=score,
        unscored=unscored,
        seconds=time.perf_counter() - began,
    )


def plan_submission(
    experiment: str | os.PathLike[str],
    crops: Sequence[str] | None = None,
    *,
    config: Config | None = None,
    options: SubmitOptions | None = None,
) -> SubmitPlan:
    """Work out what `submit` with the same arguments would do; nothing is computed or written.

    Raises
    ------
    CscError, csc_models.ModelError
        As `submit`.
    """
    source, options = os.fspath(experiment), options or SubmitOptions()
    read, config = _read(source, config or load_config())
    settings = process_settings(read, options, config)
    return make_plan(source, crops, settings, submit_folders(config, options), options)


def _read(source: str, config: Config) -> tuple[Experiment | None, Config]:
    """Return an experiment, and the configuration for it; a checkpoint and published weights have none of their own."""
    if not source.endswith((".py", ".toml")):
        return None, config
    read = read_experiment(source)
    return read, experiment_config(read, config)


def _score(archive: Path, config: Config, options: SubmitOptions) -> tuple[SubmissionScore | None, str]:
    """Return the score where there is a truth, or why that cannot be used: the submission is none the worse for it."""
    truth = config.path("ground_truth")
    if not truth.is_dir():
        return None, ""
    try:
        return score_submission(archive, truth, workers=options.workers or 1), ""
    except CscError as error:
        return None, str(error)


def _begin(plan: SubmitPlan, existing: Existing) -> None:
    """Record what is begun, and clear away what is to be overwritten, and what killed runs left."""
    record, folders = plan.record, plan.folders
    if existing == "overwrite":
        for task in plan.tasks:
            record.forget(task.crop.name, task.classes)
    otherwise = record.begin({task.crop.name: task.classes for task in plan.tasks}, plan.made_with)
    for task in plan.tasks:
        if existing == "overwrite":
            folders.remove_stages(task.crop)
        folders.remove_processed(task.crop, otherwise)
    remove_partial_files([folders.destination])


def _zip(plan: SubmitPlan) -> Path | None:
    """Zip what is packed, unless the zip is there; return it.

    Raises
    ------
    DiskBudgetError
        If there is no room for it.
    """
    folders = plan.folders
    if folders.archive.exists():
        return folders.archive
    if not any("packed" in stages.values() for stages in plan.record.crops.values()):
        return None
    needed = used_bytes([folders.destination])
    taken = folders.used([task.crop for task in plan.tasks])
    if plan.disk is not None and taken + needed > plan.disk:
        raise DiskBudgetError(
            f"{folders.destination} is done, and its zip takes up to {format_bytes(needed)} beside the "
            f"{format_bytes(taken)} that are taken, more than the {format_bytes(plan.disk)} that there may be on the "
            "disk; run the same with more room to go on"
        )
    return write_zip(folders.destination, folders.archive)
