"""Packing a submission: each class of each test crop on the grid it is scored on, then a zip."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csc_data.blocks import Existing, Ledger, Progress, run_blocks
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.user_config import Config
from csc_data.errors import (
    CscError,
    ExistingOutputError,
    MissingDataError,
)
from csc_data.formats.writing import create_array, ensure_groups, read_attributes
from csc_data.volumes import grid_attributes
from csc_data.volumes.stored_values import Kind
from csc_submit.checking.check import SubmissionReport, check_submission
from csc_submit.packing.archive import write_zip
from csc_submit.packing.fitting import CHUNKS, AsProbabilities, FitBlock, FitPlan, PackOptions, Sources, plan_fit
from csc_submit.progress import shift_progress

ATTRIBUTE = "csc_packed"
"""Attribute of a packed array: a digest of what it was made from and with."""

logger = logging.getLogger(__name__)

PackStatus = Literal["packed", "there", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedArray:
    """What became of one class of one test crop.

    Attributes
    ----------
    crop : str
        For example ``crop557``.
    status : {"packed", "there", "missing", "failed"}
        ``there``: an earlier run had packed it. ``missing``: the test crop wants it, and it does not exist.
    source : str
        Where it came from.
    voxels : int
        How many voxels are not 0.
    instances : int or None
        How many ids; None for semantic classes.
    covered : float
        Share of the test crop that the source covers, from 0 to 1; the rest is 0.
    reason : str
        Why it failed or is missing.
    """

    dataset: str
    crop: str
    class_name: str
    status: PackStatus
    source: str = ""
    voxels: int = 0
    instances: int | None = None
    covered: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """What a run of `pack_results` did.

    Attributes
    ----------
    rows : tuple of PackedArray
        One a class and test crop.
    destination : Path
        The zarr folder.
    archive : Path or None
        The zip.
    report : SubmissionReport
        What a check of the folder found.
    """

    rows: tuple[PackedArray, ...]
    destination: Path
    archive: Path | None
    report: SubmissionReport

    @property
    def failed(self) -> tuple[PackedArray, ...]:
        """The rows that ended with an error."""
        return tuple(row for row in self.rows if row.status == "failed")

    @property
    def missing(self) -> tuple[PackedArray, ...]:
        """The rows for which there was nothing to pack."""
        return tuple(row for row in self.rows if row.status == "missing")

    @property
    def packed(self) -> tuple[PackedArray, ...]:
        """The rows that are in the submission."""
        return tuple(row for row in self.rows if row.status in ("packed", "there"))


def pack_results(
    *,
    config: Config,
    source: str | Path = "processed",
    destination: str | Path | None = None,
    crops: Sequence[str] | None = None,
    existing: Existing = "resume",
    as_probabilities: AsProbabilities = "refuse",
    threshold: float = 0.5,
    stored_as: Kind | None = None,
    zip: bool = True,  # noqa: A002  # what people call it
    progress: Progress | None = None,
) -> PackResult:
    """Pack results into what the challenge takes: one array a class and test crop, and a zip of them.

    Labels come to the grid of the test crop by nearest neighbour, ids as they are; where the source does not reach,
    0 is written.

    Parameters
    ----------
    config : csc_data.config.user_config.Config
        Where things lie; the data folder may bring its own list of test crops.
    source : str or Path
        ``"processed"``, ``"predictions"``, or a folder with ``{dataset}.zarr/{crop}/{class}`` or ``{crop}/{class}``.
    destination : path, optional
        The zarr folder to write, ``submission`` of the configuration by default; the zip lies beside it.
    crops : sequence of str, optional
        Which test crops; all by default.
    existing : {"resume", "refuse", "overwrite"}
        What to do with a submission that is there.
    as_probabilities : {"refuse", "threshold"}
        What to do with probabilities, logits and distances, which are not labels. A threshold is applied after linear
        interpolation to the grid of the test crop.
    threshold : float
        The probability above which a voxel belongs to the class.
    stored_as : {"probability", "logit", "distance", "label"}, optional
        What arrays hold that do not say so themselves.
    zip : bool
        Whether to write the zip, the same bytes for the same content.
    progress : callable, optional
        Called with the finished and all blocks.

    Returns
    -------
    PackResult

    Raises
    ------
    MissingDataError
        If there is nothing to pack at all.
    ExistingOutputError
        If there is a submission that must not be changed, or that was packed from other data or with other settings.
    """
    options = PackOptions(as_probabilities=as_probabilities, threshold=threshold, stored_as=stored_as)
    chosen = select_crops(load_test_crops(config), crops)
    folder = Path(destination) if destination is not None else config.path("submission")
    if existing == "refuse" and folder.exists():
        raise ExistingOutputError(f"{folder} exists; resume or overwrite it, or choose another destination")
    sources = Sources(config=config, source=source)
    sources.check()
    rows, plans = _plan(chosen, sources, folder, options)
    if not plans and all(row.status == "missing" for row in rows):
        raise MissingDataError(
            f"nothing to pack: {sources} holds none of the {len(rows)} arrays that {len(chosen)} test crops want; "
            "`csc process` makes them, --data names another folder"
        )
    if existing == "resume":
        _check_existing(plans)
    archive_path = folder.with_suffix(".zip")
    if zip and plans:
        # The folder changes from here on: a run that ends early must not leave the old zip beside it.
        archive_path.unlink(missing_ok=True)
    rows += _pack_all(plans, existing, progress)
    if plans:  # where nothing at all can be packed, an earlier submission may be all that somebody has
        _remove_stale(rows, folder)
    packed = any(row.status in ("packed", "there") for row in rows)
    ensure_groups(folder)
    report = check_submission(folder, config=config, crops=crops)
    archive = write_zip(folder, archive_path) if zip and packed else None
    return PackResult(rows=_with_counts(rows, report), destination=folder, archive=archive, report=report)


def _plan(
    crops: Sequence[TestCrop], sources: Sources, folder: Path, options: PackOptions
) -> tuple[list[PackedArray], list[FitPlan]]:
    """Return what will be packed, and the rows of what cannot be."""
    rows, plans = [], []
    for crop in crops:
        for name in crop.classes:
            row = PackedArray(dataset=crop.dataset, crop=f"crop{crop.id}", class_name=name, status="failed")
            try:
                source = sources.find(crop.dataset, row.crop, name)
                if source is None:
                    rows.append(dataclasses.replace(row, status="missing", reason="there is no such array"))
                else:
                    plans.append(plan_fit(crop, name, source, folder, options))
            except CscError as error:
                rows.append(dataclasses.replace(row, reason=str(error)))
    return rows, plans


def _remove_stale(rows: Sequence[PackedArray], folder: Path) -> None:
    """Remove what an earlier run packed for a class that is now missing or failed: it would be submitted unnoticed."""
    for row in rows:
        target = folder / row.crop / row.class_name
        if row.status in ("missing", "failed") and ATTRIBUTE in read_attributes(target):
            logger.warning("%s was packed by an earlier run and is removed, as it is %s this time", target, row.status)
            shutil.rmtree(target)


def _made_with(plan: FitPlan) -> object:
    return read_attributes(plan.target).get(ATTRIBUTE)


def _check_existing(plans: Sequence[FitPlan]) -> None:
    """Refuse before any work is done, not in the middle of it."""
    for plan in plans:
        if plan.target.exists() and _made_with(plan) != plan.fingerprint():
            raise ExistingOutputError(
                f"{plan.target} was packed from something else, or in another way; overwrite the submission"
            )


def _pack_all(plans: Sequence[FitPlan], existing: Existing, progress: Progress | None) -> list[PackedArray]:
    rows, done = [], 0
    total = sum(len(plan.blocks) for plan in plans)
    for plan in plans:
        rows.append(_pack_one(plan, existing, shift_progress(progress, done, total)))
        done += len(plan.blocks)
    return rows


def _pack_one(plan: FitPlan, existing: Existing, progress: Progress | None) -> PackedArray:
    row = PackedArray(
        dataset=plan.crop.dataset,
        crop=f"crop{plan.crop.id}",
        class_name=plan.class_name,
        status="packed",
        source=str(plan.source),
        covered=plan.covered,
    )
    if existing == "overwrite":
        shutil.rmtree(plan.work, ignore_errors=True)
    elif plan.target.exists():
        if progress:
            progress(len(plan.blocks), len(plan.blocks))
        return dataclasses.replace(row, status="there")
    try:
        _write(plan, progress)
    except ExistingOutputError:
        raise
    except CscError as error:
        logger.warning("%s failed: %s", plan.target, error)
        return dataclasses.replace(row, status="failed", reason=str(error))
    return row


def _write(plan: FitPlan, progress: Progress | None) -> None:
    """Write an array in its hidden folder and put it in its place when it is whole."""
    unfinished = plan.work / plan.target.name
    ledger = Ledger(plan.work / "blocks.ledger", plan.fingerprint(), outputs=[unfinished])
    if not ledger.read():
        create_array(
            unfinished,
            shape=plan.grid.shape,
            dtype=plan.dtype,
            chunks=CHUNKS,
            attributes={**grid_attributes(plan.grid), ATTRIBUTE: ledger.fingerprint},
            overwrite=True,
        )
        ledger.start()
    run_blocks(FitBlock(plan=plan), plan.blocks, ledger=ledger, progress=progress)
    if plan.target.exists():
        shutil.rmtree(plan.target)
    unfinished.rename(plan.target)
    shutil.rmtree(plan.work)


def _with_counts(rows: Sequence[PackedArray], report: SubmissionReport) -> tuple[PackedArray, ...]:
    """Add what the check counted, and sort by crop and class."""
    counted = {(array.crop, array.class_name): array for array in report.arrays}
    full = []
    for row in rows:
        array = counted.get((row.crop, row.class_name))
        if array is not None and row.status in ("packed", "there"):
            row = dataclasses.replace(row, voxels=array.voxels, instances=array.instances)
        full.append(row)
    return tuple(sorted(full, key=lambda row: (int(row.crop.removeprefix("crop")), row.class_name)))
