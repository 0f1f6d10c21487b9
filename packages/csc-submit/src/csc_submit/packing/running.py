"""Arrays of a submission packed by whoever works, and the zip that grows meanwhile."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csc_data.blocks import (
    Block,
    BlockGrid,
    BlockRun,
    Chain,
    Existing,
    MissingBlocksError,
    Progress,
    run_chains,
)
from csc_data.errors import ExistingOutputError
from csc_data.formats.writing import read_attributes
from csc_data.storage.room import DiskFullError, full_disk_told
from csc_submit.packing.archive import GrowingZip
from csc_submit.packing.fitting import FitPlan, settle
from csc_submit.packing.results import PackedArray, PackStatus
from csc_submit.packing.writing import ATTRIBUTE, write_packed
from csc_submit.workers import Workers

BLOCKS_PER_PROCESS = 64
"""Another process is worth its start when it has so many blocks to do."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackArray:
    """The work on an array, as that on a block which is all of it: a zip takes arrays when they are whole."""

    plan: FitPlan

    def __call__(self, block: Block) -> None:
        """Pack it."""
        with full_disk_told(self.plan.work):
            write_packed(self.plan)


def check_existing(plans: Sequence[FitPlan]) -> None:
    """Refuse before any work is done, not in the middle of it.

    Raises
    ------
    ExistingOutputError
        If an array was packed from other data or with other settings.
    """
    for plan in plans:
        if plan.target.exists() and _entry(plan).get("made_with") != settle(plan).fingerprint():
            raise ExistingOutputError(
                f"{plan.target} was packed from something else, or in another way; overwrite the submission, or choose "
                "another place (-o), or an experiment with a folder of its own (-e)"
            )


def remove_stale(row: PackedArray, folder: Path) -> None:
    """Remove what an earlier run packed for a class that is missing or failed: it would be submitted unnoticed."""
    target = folder / row.crop / row.class_name
    if ATTRIBUTE in read_attributes(target):
        logger.warning("%s was packed by an earlier run and is removed, as it is %s this time", target, row.status)
        shutil.rmtree(target)


class Packing:
    """Packs arrays.

    Parameters
    ----------
    plans : sequence of FitPlan
    folder : Path
        Where they go.
    existing : {"resume", "refuse", "overwrite"}
    progress : callable or None
        Called with the blocks of finished arrays, and of all.

    Attributes
    ----------
    rows : list of PackedArray
        What became of those that are done.
    left : list of FitPlan
        Those to be packed, in the order in which the zip takes them.
    """

    def __init__(
        self, plans: Sequence[FitPlan], folder: Path, *, existing: Existing, progress: Progress | None
    ) -> None:
        there = [plan for plan in plans if existing != "overwrite" and plan.target.exists()]
        self.rows = [_row(plan, "there", _entry(plan)) for plan in there]
        self.left = sorted((plan for plan in plans if plan not in there), key=lambda plan: plan.target.parts)
        self._folder, self._progress = folder, progress
        self._done, self._blocks = 0, sum(len(plan.blocks) for plan in self.left)

    def run(self, workers: Workers, archive: GrowingZip | None = None) -> None:
        """Pack what is left; the zip takes what is finished.

        Raises
        ------
        DiskFullError
            If the disk is full before the end.
        """
        if not self.left:
            return
        with workers.open(most=min(len(self.left), 1 + self._blocks // BLOCKS_PER_PROCESS)) as execution:
            run_chains((self._pack(plan, archive) for plan in self.left), execution)

    def _pack(self, plan: FitPlan, archive: GrowingZip | None) -> Chain:
        shape = plan.grid.shape
        try:  # one that fails must not cost the others
            yield BlockRun(work=PackArray(plan=plan), grid=BlockGrid(shape=shape, block_shape=shape))
            row = _packed_row(plan)
        except MissingBlocksError as error:
            if isinstance(error.__cause__, DiskFullError):  # not the fault of the source: nothing is removed for it
                raise error.__cause__ from None
            row = replace(_row(plan, "failed", {}), reason=error.reason)
        if row.status == "failed":
            logger.warning("%s failed: %s", plan.target, row.reason)
            remove_stale(row, self._folder)
        self.rows.append(row)
        if archive is not None:
            archive.finish_array(plan.target)
        self._done += len(plan.blocks)
        if self._progress is not None:
            self._progress(self._done, self._blocks)


def _packed_row(plan: FitPlan) -> PackedArray:
    """Return the row of an array that somebody has packed, which says itself what it holds."""
    contents = _entry(plan)
    if not contents:
        reason = f"it was packed where {plan.target} is not this folder; all machines must see it under the same path"
        return replace(_row(plan, "failed", {}), reason=reason)
    return _row(plan, "packed" if contents["voxels"] else "empty", contents)


def _entry(plan: FitPlan) -> dict[str, Any]:
    """Return what an array that was packed says of itself; nothing if it is none of ours."""
    entry = read_attributes(plan.target).get(ATTRIBUTE)
    return entry if isinstance(entry, dict) else {}


def _row(plan: FitPlan, status: PackStatus, contents: Mapping[str, Any]) -> PackedArray:
    was_cut = plan.prediction is not None and contents.get("made_with", {}).get("threshold") is not None
    return PackedArray(
        dataset=plan.crop.dataset,
        crop=plan.crop.name,
        class_name=plan.class_name,
        status=status,
        source=str(plan.prediction if was_cut else plan.source),
        voxels=contents.get("voxels", 0),
        instances=contents.get("instances"),
        covered=plan.covered,
    )
