"""Post-processing: from predictions to masks and objects, block by block.

An array is made in a hidden folder beside its place, ``.{class}.part``, which is renamed when the array is complete; a
run that was killed continues there. Memory is that of the blocks under way, about 60 bytes per voxel of a block
with its halo, and about 60 bytes per object of each block; the volume itself is never loaded whole.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

from csc_data.blocks import Execution, Existing, MissingBlocksError, Progress
from csc_data.config.user_config import Config
from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError, MissingDataError, UnreadableDataError
from csc_data.storage.room import DiskFullError, full_disk_told
from csc_data.volumes.affinities import class_of_affinities
from csc_submit.predictions import StoredPrediction
from csc_submit.processing.calling import ProcessOptions, Source, read_call
from csc_submit.processing.own_step import ProcessFuncError
from csc_submit.processing.pipeline import Pipeline, check_unfinished, read_summary
from csc_submit.processing.planning import ArrayPlan, FailedPlan, plan_crop
from csc_submit.progress import shift_progress
from csc_submit.settings import ProcessSettings

logger = logging.getLogger(__name__)

ProcessStatus = Literal["done", "there", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedArray:
    """What became of one class of one crop.

    Attributes
    ----------
    status : {"done", "there", "missing", "failed"}
        ``there``: an earlier run had finished it. ``missing``: wanted, but not predicted.
    path : str
        Where the result lies.
    voxels : int
        How many voxels the class has.
    instances : int or None
        How many objects; None for semantic classes.
    seconds : float
        Time this run took.
    reason : str
        Why it failed or is missing.
    """

    dataset: str
    crop: str
    class_name: str
    status: ProcessStatus
    path: str = ""
    voxels: int = 0
    instances: int | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """What a run of `process` did, a row per crop and class."""

    rows: tuple[ProcessedArray, ...]

    @property
    def failed(self) -> tuple[ProcessedArray, ...]:
        """The rows that ended with an error."""
        return tuple(row for row in self.rows if row.status == "failed")


@full_disk_told()
def process(
    experiment_or_settings: Source | None = None,
    crops: Sequence[str] | str | None = None,
    *,
    config: Config | None = None,
    existing: Existing | None = None,
    progress: Progress | None = None,
    **options: Unpack[ProcessOptions],
) -> ProcessResult:
    """Post-process predictions.

    Parameters
    ----------
    experiment_or_settings : path, Experiment or ProcessSettings
        The experiment file, or the settings themselves.
    crops : sequence of str, or str with commas, optional
        Names, ids or patterns of the crops, or "test" for the test crops among those predicted; all that were
        predicted by default.
    config : csc_data.config.user_config.Config, optional
        Where predictions lie (``predictions``) and results go (``processed``); the user's by default.
    existing : {"resume", "refuse", "overwrite"}, optional
        What to do with results that are there; the experiment's own setting by default, which is to resume.
    progress : callable, optional
        Called with the finished and all units of work (a block in a stage).
    **options : object
        Settings that go before those of the experiment; where to work; the arguments of the official toolbox
        (`ProcessOptions`). None leaves what holds.

    Returns
    -------
    ProcessResult
        Rows by data set, crop and class; those that failed say why, and the others are finished all the same.

    Raises
    ------
    MissingDataError
        If there are no predictions, or a crop or all classes that were asked for were not predicted.
    ProblemsError
        If settings are wrong.
    InvalidArgumentError
        If two arguments contradict each other.
    ExistingOutputError
        If results are there and must not be touched, or were made from or with something else.
    DiskFullError
        If the disk is full before the end; what is done stays.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, load_config, open_volume, write_multiscale
    >>> from csc_submit import ProcessSettings, process
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = load_config(data=folder, environ={})
    ...     place = config.path("predictions", dataset="mine", crop="crop1", class_name="er")
    ...     values = np.full((8, 8, 8), 0.2, np.float32)
    ...     values[:4] = 0.9
    ...     write_multiscale(place, [values], [grid])
    ...     result = process(ProcessSettings(threshold=0.5), config=config)
    ...     done = config.path("processed", dataset="mine", crop="crop1", class_name="er")
    ...     print([row.status for row in result.rows], int(open_volume(done).levels[0].array[...].sum()))
    ['done'] 256
    """
    call = read_call(experiment_or_settings, crops, config, existing, options)
    settings, config, how = call.settings, call.config, call.existing
    found = call.find_predictions()
    if settings.classes and not any(p.class_name in settings.classes for p in found):
        known = ", ".join(sorted({p.class_name for p in found}))
        raise MissingDataError(f"none of the classes {', '.join(settings.classes)} was predicted; there are {known}")
    rows = _missing(found, settings)
    plans = []
    for _, of_crop in itertools.groupby(found, key=lambda p: (p.dataset, p.crop)):
        for plan in plan_crop(tuple(of_crop), settings, config):
            if isinstance(plan, FailedPlan):
                rows.append(_row(plan.prediction, "failed", reason=plan.reason))
            else:
                plans.append(plan)
    _check_existing(plans, how)
    total = sum(plan.steps for plan in plans)
    base = 0
    with call.workers.open() as execution:
        for plan in plans:
            rows.append(_process_one(plan, how, execution, shift_progress(progress, base, total)))
            base += plan.steps
    order = {(p.dataset, p.crop): n for n, p in enumerate(found)}
    rows.sort(key=lambda row: (order[row.dataset, row.crop], row.class_name))
    return ProcessResult(rows=tuple(rows))


def _missing(found: Sequence[StoredPrediction], settings: ProcessSettings) -> list[ProcessedArray]:
    there = {(p.dataset, p.crop, p.class_name) for p in found}
    crops = dict.fromkeys((p.dataset, p.crop) for p in found)
    rows = [
        ProcessedArray(
            dataset=dataset, crop=crop, class_name=name, status="missing", reason="no prediction of this class"
        )
        for dataset, crop in crops
        for name in settings.classes
        if (dataset, crop, name) not in there
    ]
    if not settings.classes:
        divided = dict.fromkeys((p.dataset, p.crop, class_of_affinities(p.class_name)) for p in found)
        reason = "there are affinities of this class, but no prediction of itself that they would divide"
        rows += [
            ProcessedArray(dataset=dataset, crop=crop, class_name=name, status="missing", reason=reason)
            for dataset, crop, name in divided
            if name is not None and (dataset, crop, name) not in there
        ]
    return rows


def _row(prediction: StoredPrediction, status: ProcessStatus, **values: object) -> ProcessedArray:
    return dataclasses.replace(
        ProcessedArray(
            dataset=prediction.dataset, crop=prediction.crop, class_name=prediction.class_name, status=status
        ),
        **values,  # type: ignore[arg-type]  # replace checks the names
    )


def _check_existing(plans: Sequence[ArrayPlan], how: Existing) -> None:
    """Refuse before any work is done, not in the middle of it.

    Raises
    ------
    ExistingOutputError
        If something is there that must not be touched, or that was made otherwise.
    """
    if how == "overwrite":
        return
    for plan in plans:
        if how == "refuse" and (plan.target.exists() or plan.work.exists()):
            raise ExistingOutputError(f"{plan.target} exists; resume or overwrite it")
        if plan.work.exists():
            check_unfinished(plan)
        if plan.target.exists():
            known = read_summary(plan)
            made_with = known[0] if known else {}
            differing = sorted(name for name, value in plan.fingerprint().items() if made_with.get(name) != value)
            if differing:
                raise ExistingOutputError(
                    f"{plan.target} was made with another {', '.join(differing)}; overwrite it, or choose "
                    "another place (-o), or an experiment with a folder of its own (-e)"
                )


def _process_one(plan: ArrayPlan, how: Existing, execution: Execution, progress: Progress | None) -> ProcessedArray:
    begin = time.perf_counter()
    if how == "overwrite":
        shutil.rmtree(plan.work, ignore_errors=True)
    elif plan.target.exists() and (known := read_summary(plan)):
        if progress:
            progress(plan.steps, plan.steps)
        return _row(
            plan.prediction,
            "there",
            path=str(plan.target),
            voxels=known[1].voxels,
            instances=known[1].instances,
        )
    try:
        with full_disk_told(plan.work):
            summary = Pipeline(plan, execution, progress).run()
    except (ExistingOutputError, DiskFullError):
        raise
    except CscError as error:
        found = _own_error(error)
        if found is not error:
            shutil.rmtree(plan.work, ignore_errors=True)  # so that a mended function does not meet its old work
        logger.warning("%s failed: %s", plan.target, found)
        return _row(plan.prediction, "failed", reason=str(found), seconds=time.perf_counter() - begin)
    return _row(
        plan.prediction,
        "done",
        path=str(plan.target),
        voxels=summary.voxels,
        instances=summary.instances,
        seconds=time.perf_counter() - begin,
    )


def _own_error(error: CscError) -> BaseException:
    """Return what stopped the blocks if it is the participant's own, where running again would not help."""
    cause = error.__cause__
    mine = isinstance(cause, ProcessFuncError | InvalidArgumentError) and not isinstance(cause, UnreadableDataError)
    return cause if isinstance(error, MissingBlocksError) and cause is not None and mine else error
