"""What a submission takes, crop by crop, worked out before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csc_cli.submission.disk import DiskBudgetError, most_bytes
from csc_cli.submission.folders import SubmitFolders
from csc_cli.submission.options import SubmitOptions
from csc_cli.submission.record import SubmitRecord
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_present_test_crops, load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.experiment import Experiment
from csc_data.config.user_config import Config
from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_data.wording import format_bytes, listed, plural, table
from csc_submit import ProcessSettings
from csc_submit.processing.calling import as_process_settings
from csc_submit.processing.own_function import own_step
from csc_submit.processing.passes import steps_for
from csc_submit.processing.planning import made_with
from csc_train import plan_prediction
from csc_train.prediction import PredictPlan
from csc_train.prediction.planning.choice import hindrance
from csc_train.prediction.planning.estimate import RegionEstimate
from csc_train.prediction.planning.regions import PredictRegion
from csc_train.prediction.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class CropTask:
    """What is to be done of a crop.

    Attributes
    ----------
    crop : TestCrop
    classes : tuple of str
        Those that are wanted, scored there, and known to the network; all scored ones where it cannot be predicted.
    estimate : RegionEstimate or None
        Of its prediction; None where there is none.
    bytes : int
        What it takes on the disk at most.
    problem : str
        Why it cannot be predicted.
    """

    crop: TestCrop
    classes: tuple[str, ...]
    estimate: RegionEstimate | None = None
    bytes: int = 0
    problem: str = ""

    @property
    def label(self) -> str:
        """How it is called."""
        return f"{self.crop.dataset}/{self.crop.name}"

    def left(self, record: SubmitRecord) -> tuple[str, ...]:
        """Return the classes that are not packed."""
        return tuple(name for name in self.classes if not record.has(self.crop.name, name, "packed"))

    def row(self, record: SubmitRecord) -> Sequence[object]:
        """Return its row of the table."""
        estimate, left = self.estimate, self.left(record)
        if not left:
            said = "packed"
        elif estimate is None:
            said = f"cannot be predicted: {self.problem}"
        elif not any(record.stage(self.crop.name, name) for name in left):
            said = ""
        else:
            stages = {record.stage(self.crop.name, name) for name in left}
            said = "predicted" if stages <= {"predicted", "processed"} else f"{1 - estimate.share_left:.0%} predicted"
        if estimate is None:
            return self.label, "-", len(self.classes), "-", "-", said
        shape = "x".join(map(str, estimate.shape))
        return self.label, shape, len(self.classes), f"{estimate.passes:,}", format_bytes(self.bytes), said


@dataclass(frozen=True, kw_only=True)
class SubmitPlan:
    """What will be done, with what, and what it takes.

    Attributes
    ----------
    tasks : tuple of CropTask
    folders : SubmitFolders
    prediction : PredictPlan
        Of all crops.
    settings : ProcessSettings
    disk : int or None
        Bytes that all of it may take.
    record : SubmitRecord
        What was done before.
    """

    tasks: tuple[CropTask, ...]
    folders: SubmitFolders
    prediction: PredictPlan
    settings: ProcessSettings
    disk: int | None
    record: SubmitRecord

    @property
    def made_with(self) -> Mapping[str, Mapping[str, Any]]:
        """What each class is made with."""
        predictor = self.prediction.predictor
        paths = predictor.settings.checkpoints or (predictor.checkpoint or "untrained",)
        return {
            name: {
                "prediction": self.prediction.fingerprint,
                "processing": made_with(self.settings, name),
                "checkpoint": " ".join(map(str, paths)),
            }
            for name in dict.fromkeys(name for task in self.tasks for name in task.classes)
        }

    @property
    def lines(self) -> list[str]:
        """All of it for people."""
        headers = ("crop", "voxels", "classes", "passes", "disk at most", "")
        rows = [task.row(self.record) for task in self.tasks]
        left = [task for task in self.tasks if task.left(self.record)]
        peak = max([self._need(task) for task in left], default=0)
        passes = sum(task.estimate.passes_left for task in left if task.estimate)
        budget = "" if self.disk is None else f" of {format_bytes(self.disk)}"
        return [
            *self.prediction.record.lines(),
            *self.prediction.notes,
            *table(headers, rows, indent="  ").splitlines(),
            f"to do: {plural(len(left), 'crop')}, {plural(passes, 'pass')} through the network; at most "
            f"{format_bytes(peak)}{budget} on the disk beside what is packed: {self.folders.destination}",
        ]

    def _need(self, task: CropTask) -> int:
        """Return what a crop takes, with the intermediates of those before it if these stay."""
        if not self.folders.keep:
            return task.bytes
        return sum(each.bytes for each in self.tasks[: self.tasks.index(task) + 1])

    def check(self, existing: str) -> None:
        """Check that all of it can be done, before anything is.

        Raises
        ------
        ExistingOutputError
            If the submission holds crops that must not be changed, or that nobody knows how they were made.
        DiskBudgetError
            If a crop alone takes more room than all of it may.
        """
        if existing != "overwrite":
            self._check_existing(refuse=existing == "refuse")
        large = [task for task in self.tasks if task.left(self.record) and self._need(task) > (self.disk or math.inf)]
        if large:
            names = ", ".join(f"{task.label} ({format_bytes(self._need(task))})" for task in large)
            helpful = list(dict.fromkeys(text for task in large for text in self._remedies(task)))
            raise DiskBudgetError(
                f"{names} {'take' if len(large) > 1 else 'takes'} more than the {format_bytes(self.disk or 0)} that "
                f"there may be on the disk; {', or '.join(helpful)}"
            )

    def _check_existing(self, *, refuse: bool) -> None:
        folder = self.folders.destination
        there = [
            f"{task.crop.name}/{name}"
            for task in self.tasks
            for name in task.classes
            if (self.record.stage(task.crop.name, name) is not None and refuse)
            or (self.record.stage(task.crop.name, name) is None and (folder / task.crop.name / name).exists())
        ]
        if there:
            what = "holds" if refuse else "was not made by this command: it holds"
            raise ExistingOutputError(
                f"{folder} {what} {listed(there, most=3)}; overwrite them, or choose another destination "
                "(-o), or an experiment with a folder of its own (-e)"
            )

    def _remedies(self, task: CropTask) -> list[str]:
        """Return what would help a crop that takes too much."""
        estimate, predictor = task.estimate, self.prediction.predictor
        assert estimate is not None
        found = []
        if predictor.settings.stored_dtype != "uint8" and predictor.settings.output in ("probability", "mask"):
            found.append("store uint8 (output_dtype)")
        if predictor.settings.output_grid == "target" and math.prod(estimate.shape) > 1.05 * math.prod(task.crop.shape):
            found.append("predict on the crops' own voxels (output_grid = 'crop')")
        if predictor.settings.scales > 1:
            found.append("write one level (scales = 1)")
        if self.folders.keep and task.bytes <= (self.disk or 0):
            found.append("do not keep predictions and processed volumes")
        if len(task.classes) > 1:
            most = max(1, int(len(task.classes) * (self.disk or 0) / task.bytes))
            found.append(f"give fewer classes at a time, {most} or so; those of several runs come together")
        return [*found, "give it more room"]


def make_plan(
    experiment: str,
    crops: Sequence[str] | None,
    settings: ProcessSettings,
    folders: SubmitFolders,
    options: SubmitOptions,
) -> SubmitPlan:
    """Work out what a submission takes; nothing is written.

    Raises
    ------
    CscError, csc_models.ModelError
        If settings, crops, classes or the checkpoint cannot be used at all.
    """
    record = SubmitRecord(folders.record)
    _check_data(folders.config)
    wanted = select_crops(load_test_crops(folders.config), None if crops is None or list(crops) == ["test"] else crops)
    prediction = plan_prediction(
        experiment,
        [crop.name for crop in wanted],
        config=folders.of_stages,
        existing="overwrite" if options.existing == "overwrite" else "resume",
        classes_to_write=options.classes,
        **options.of_prediction,
    )
    estimates = {estimate.label: estimate for estimate in prediction.estimate.regions}
    problems = {problem.where: problem.what for problem in prediction.problems}
    regions = {work.region.label: work.region for work in prediction.works}
    known = prediction.predictor.classes if options.classes is None else options.classes
    tasks = []
    for crop in wanted:
        classes = tuple(name for name in crop.classes if name in known)
        if not classes:
            continue
        label = f"{crop.dataset}/{crop.name}"
        estimate = estimates.get(label)
        arrays = with_read(settings, classes)
        _check_given(arrays, prediction.predictor, regions.get(label))
        tasks.append(
            CropTask(
                crop=crop,
                classes=classes,
                estimate=estimate,
                bytes=0 if estimate is None else most_bytes(crop, classes, len(arrays), estimate, settings),
                problem=problems.get(label, ""),
            )
        )
    if not tasks:
        raise InvalidArgumentError(
            f"none of {listed(list(known))} is scored in {listed([crop.name for crop in wanted])}; name other classes"
        )
    return SubmitPlan(
        tasks=tuple(tasks),
        folders=folders,
        prediction=prediction,
        settings=settings,
        disk=options.disk,
        record=record,
    )


def _check_data(config: Config) -> None:
    """Check that there is raw of a test crop at all.

    Raises
    ------
    MissingDataError
        If there is none: nothing of what is there is to be submitted.
    """
    if load_present_test_crops(config):
        return
    raise MissingDataError(
        f"{config.root} has no data set of the test crops (`csc fetch-data --crops test` fetches them); of your own "
        "data there is nothing to submit: `csc predict CONFIG -c validation`, `csc process CONFIG` and `csc evaluate "
        "--datasplit` score it"
    )


def with_read(settings: ProcessSettings, classes: Sequence[str]) -> tuple[str, ...]:
    """Return classes, and the names of the predictions that their steps read beside these, such as affinities.

    Examples
    --------
    >>> from csc_submit import ProcessSettings
    >>> with_read(ProcessSettings(), ["mito", "er"])
    ('mito', 'er')
    """
    own = own_step(settings)
    # Which are read does not depend on the voxel size.
    steps = {name: steps_for(settings, name, (1.0, 1.0, 1.0), own, tuple(classes)) for name in classes}
    return tuple(
        dict.fromkeys([*classes, *(read for name in classes for s in steps[name] for read in s.channels(name))])
    )


def _check_given(arrays: Sequence[str], predictor: Predictor, region: PredictRegion | None) -> None:
    """Check that the network gives what is processed, before anything is predicted.

    Raises
    ------
    InvalidArgumentError
        If it lacks something, or it cannot be written with these settings.
    """
    for name in arrays:
        if name not in predictor.arrays:
            raise InvalidArgumentError(
                f"post-processing reads predictions of {name}, which the network does not give; it gives "
                f"{listed(list(predictor.arrays))}"
            )
        if why := hindrance(name, predictor, region):
            raise InvalidArgumentError(f"post-processing reads {name}, which cannot be written: {why}")


def submit_folders(config: Config, options: SubmitOptions) -> SubmitFolders:
    """Return the places of a submission."""
    return SubmitFolders(config=config, destination=options.destination or config.path("submission"), keep=options.keep)


def process_settings(experiment: Experiment | None, options: SubmitOptions, config: Config) -> ProcessSettings:
    """Return what is done to predictions; the defaults without an experiment.

    Raises
    ------
    ProblemsError
        With everything that is wrong.
    """
    source = experiment or ProcessSettings()
    return as_process_settings(source, config, device=options.given.get("device"), **options.of_processing)
