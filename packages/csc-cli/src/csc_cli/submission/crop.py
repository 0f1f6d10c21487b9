"""The work on one crop: predict, process, pack, validate; then what lay between goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from csc_cli.submission.disk import DiskBudgetError, used_bytes
from csc_cli.submission.options import SubmitOptions
from csc_cli.submission.plan import CropTask, SubmitPlan, with_read
from csc_cli.submission.record import Stage
from csc_cli.submission.results import CropOutcome, Doing, SubmitProgress, Watch
from csc_cli.submission.working import SubmitWorkers
from csc_data.blocks import unfinished_work
from csc_data.errors import Problem
from csc_data.wording import format_bytes
from csc_eval import Finding, validate_submission
from csc_submit import pack_results, process
from csc_train.prediction import IncompletePredictionError


@dataclass(frozen=True, kw_only=True)
class CropWork:
    """The work on a crop of a submission.

    Attributes
    ----------
    plan : SubmitPlan
        Of all crops.
    options : SubmitOptions
    workers : SubmitWorkers
    watch : Watch
    task : CropTask
        One of the plan.
    """

    plan: SubmitPlan
    options: SubmitOptions
    workers: SubmitWorkers
    watch: Watch
    task: CropTask

    @property
    def name(self) -> str:
        """The crop's."""
        return self.task.crop.name

    @property
    def left(self) -> tuple[str, ...]:
        """The classes that are not packed."""
        return self.task.left(self.plan.record)

    def run(self) -> CropOutcome:
        """Do what is left of the crop, and tell what became of it.

        Raises
        ------
        DiskBudgetError
            If what is packed leaves no room for it.
        DiskFullError
            If the disk is full.
        CscError, csc_models.ModelError
            If it cannot be done, and others could not be either.
        """
        began, folders, record = time.perf_counter(), self.plan.folders, self.plan.record
        left = self.left
        there = tuple(name for name in self.task.classes if name not in left)
        outcome = CropOutcome(crop=self.task.label, there=there)
        if left and self.task.problem:
            outcome = replace(outcome, problems=(Problem(where=self.task.label, what=self.task.problem),))
        elif left:
            self._check_room()
            problems = [*self._predict(left), *self._process(left), *self._pack(left)]
            outcome = replace(
                outcome,
                packed=tuple(name for name in left if record.has(self.name, name, "packed")),
                problems=tuple(problems),
                findings=tuple(self._findings(left)),
                disk=folders.used(self._crops),
            )
        if record.all_packed(self.name):
            folders.remove_stages(self.task.crop)
        outcome = replace(outcome, seconds=time.perf_counter() - began)
        if left:
            self.watch.finished(outcome)
        return outcome

    @property
    def _crops(self) -> list[Any]:
        return [task.crop for task in self.plan.tasks]

    def _check_room(self) -> None:
        folders, disk = self.plan.folders, self.options.disk
        taken = folders.used(self._crops) - used_bytes(folders.stage_folders(self.task.crop))
        if disk is not None and taken + self.task.bytes > disk:
            raise DiskBudgetError(
                f"{self.task.label} takes up to {format_bytes(self.task.bytes)}, and {format_bytes(taken)} of the "
                f"{format_bytes(disk)} that there may be on the disk are taken by what is done ({folders.destination} "
                "and beside it); run the same with more room to go on"
            )

    def _predict(self, left: Sequence[str]) -> list[Problem]:
        """Predict classes, and what post-processing reads beside them, unless that is done; return what failed."""
        arrays = with_read(self.plan.settings, left)
        if self._is_behind(left, 1, "processed") or (self._is_behind(left, 0, "predicted") and self._are_there(arrays)):
            return []
        try:
            self.workers.session.predict(
                [self.name], arrays, progress=lambda state: self._report("predict", state.done, state.blocks)
            )
        except IncompletePredictionError as error:
            return list(error.problems)
        self.plan.record.set_stage(self.name, left, "predicted")
        return []

    def _process(self, left: Sequence[str]) -> list[Problem]:
        """Process classes that are predicted, unless that is done; return what failed."""
        record = self.plan.record
        predicted = [name for name in left if record.has(self.name, name, "predicted")]
        if not predicted or self._is_behind(predicted, 1, "processed"):
            return []
        predictions, _ = self.plan.folders.stage_folders(self.task.crop)
        # Others may be read by these, where they are there still.
        names = [name for name in self.task.classes if (predictions / name).is_dir()]
        result = process(
            self.plan.settings,
            [self.name],
            config=self.plan.folders.of_stages,
            existing=self.options.existing_stages,
            progress=lambda done, blocks: self._report("process", done, blocks),
            classes=names,
            **self.workers.for_processing(),
        )
        done = {row.class_name for row in result.rows if row.status in ("done", "there")}
        record.set_stage(self.name, [name for name in predicted if name in done], "processed")
        return [Problem(where=f"{self.task.label}/{row.class_name}", what=row.reason) for row in result.failed]

    def _pack(self, left: Sequence[str]) -> list[Problem]:
        """Pack classes that are processed; return what failed."""
        record, folders = self.plan.record, self.plan.folders
        processed = [name for name in left if record.has(self.name, name, "processed")]
        if not processed:
            return []
        folders.archive.unlink(missing_ok=True)  # what it is the zip of changes from here on
        result = pack_results(
            config=folders.of_stages,
            destination=folders.destination,
            crops=[self.name],
            classes=processed,
            existing="overwrite",
            zip=False,
            progress=lambda done, blocks: self._report("pack", done, blocks),
            **self.workers.for_packing(),
        )
        record.set_stage(self.name, [row.class_name for row in result.packed], "packed")
        wrong = (*result.failed, *result.missing)
        return [Problem(where=f"{self.task.label}/{row.class_name}", what=row.reason) for row in wrong]

    def _findings(self, left: Sequence[str]) -> list[Finding]:
        """Return what the portal will make of what was packed."""
        names = {f"{self.name}/{name}" for name in left if self.plan.record.has(self.name, name, "packed")}
        if not names:
            return []
        folders = self.plan.folders
        report = validate_submission(folders.destination, config=folders.config, crops=[self.name])
        return [finding for finding in report.findings if finding.where in names]

    def _is_behind(self, names: Sequence[str], number: int, stage: Stage) -> bool:
        """Return whether a stage is behind classes, and what came of it there still."""
        folder = self.plan.folders.stage_folders(self.task.crop)[number]
        return all(self.plan.record.has(self.name, name, stage) and (folder / name).is_dir() for name in names)

    def _are_there(self, arrays: Sequence[str]) -> bool:
        """Return whether predictions are finished; post-processing may read others than when they were made."""
        predictions, _ = self.plan.folders.stage_folders(self.task.crop)
        unfinished = {name for work in unfinished_work(predictions) for name in work.get("classes", ())}
        return all((predictions / name).is_dir() and name not in unfinished for name in arrays)

    def _report(self, stage: Doing, done: int, blocks: int) -> None:
        number = 1 + self.plan.tasks.index(self.task)
        self.watch.worked(
            SubmitProgress(
                crop=self.task.label,
                number=number,
                crops=len(self.plan.tasks),
                stage=stage,
                done=done,
                blocks=blocks,
            )
        )
