"""Packing a submission: each class of each test crop on the grid it is scored on, then a zip."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from csc_data.blocks import Existing, Progress
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.user_config import Config
from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError, MissingDataError, did_you_mean
from csc_data.executors import ProcessWorkers, WorkerDiedError
from csc_data.formats.writing import ensure_groups, read_attributes
from csc_data.storage.room import DiskFullError, full_disk_told
from csc_data.volumes.stored_values import Kind
from csc_submit.packing.archive import write_zip
from csc_submit.packing.fitting import AsProbabilities, FitPlan, Found, PackOptions, plan_fit
from csc_submit.packing.sources import Sources
from csc_submit.packing.writing import ATTRIBUTE, write_packed
from csc_submit.progress import shift_progress

BLOCKS_PER_PROCESS = 64
"""Another process is worth its start when it has so many blocks to do."""

logger = logging.getLogger(__name__)

PackStatus = Literal["packed", "there", "empty", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedArray:
    """What became of one class of one test crop.

    Attributes
    ----------
    crop : str
        For example ``crop557``.
    status : {"packed", "there", "empty", "missing", "failed"}
        ``there``: an earlier run had packed it. ``empty``: it is in the submission, and all of it is 0. ``missing``:
        the test crop wants it, and it does not exist.
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
    """

    rows: tuple[PackedArray, ...]
    destination: Path
    archive: Path | None

    def _of(self, *statuses: PackStatus) -> tuple[PackedArray, ...]:
        return tuple(row for row in self.rows if row.status in statuses)

    @property
    def failed(self) -> tuple[PackedArray, ...]:
        """The rows that ended with an error."""
        return self._of("failed")

    @property
    def missing(self) -> tuple[PackedArray, ...]:
        """The rows for which there was nothing to pack."""
        return self._of("missing")

    @property
    def empty(self) -> tuple[PackedArray, ...]:
        """The rows that are in the submission without a single voxel."""
        return self._of("empty")

    @property
    def packed(self) -> tuple[PackedArray, ...]:
        """The rows that are in the submission."""
        return self._of("packed", "there", "empty")


@full_disk_told()
def pack_results(
    *,
    config: Config,
    source: str | Path = "processed",
    destination: str | Path | None = None,
    crops: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    existing: Existing = "resume",
    as_probabilities: AsProbabilities = "refuse",
    threshold: float = 0.5,
    stored_as: Kind | None = None,
    zip: bool = True,  # noqa: A002  # what people call it
    max_workers: int = 1,
    progress: Progress | None = None,
) -> PackResult:
    """Pack results into what the challenge takes: one array a class and test crop, and a zip of them.

    Labels come to the grid of the test crop as the score would read them there, by the rules ``definition-2026-06``:
    ids by nearest neighbour, masks linearly and then cut. A mask of another voxel size that is a plain threshold of the
    prediction which it was made from is packed from that prediction, resampled before it is cut. Where the source does
    not reach, 0 is written. Ids keep their numbers, in the smallest type that holds them.

    Parameters
    ----------
    config : csc_data.config.user_config.Config
        Where things lie; the data folder may bring its own list of test crops.
    source : str or Path
        ``"processed"``, ``"predictions"``, a folder with ``{dataset}.zarr/{crop}/{class}``,
        ``{dataset}/{crop}/{class}`` or ``{crop}/{class}``, or a path with the placeholders ``{dataset}``, ``{crop}``
        and ``{label}``.
    destination : path, optional
        The zarr folder to write, ``submission`` of the configuration by default; the zip lies beside it.
    crops : sequence of str, optional
        Which test crops; all by default.
    classes : sequence of str, optional
        Which classes of them; all that are scored there by default. What else the submission holds stays.
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
    max_workers : int
        Most processes to work in; there are fewer where there is little to do.
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
    DiskFullError
        If the disk is full before the end; what is done stays.
    """
    if max_workers < 1:
        raise InvalidArgumentError(f"max_workers must be 1 or more, got {max_workers}")
    options = PackOptions(as_probabilities=as_probabilities, threshold=threshold, stored_as=stored_as)
    chosen = _select(select_crops(load_test_crops(config), crops), classes)
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
    rows += _pack_all(plans, existing, max_workers, progress)
    if plans:  # where nothing at all can be packed, an earlier submission may be all that somebody has
        _remove_stale(rows, folder)
    ensure_groups(folder)
    rows.sort(key=lambda row: (int(row.crop.removeprefix("crop")), row.class_name))
    result = PackResult(rows=tuple(rows), destination=folder, archive=None)
    if not (zip and result.packed):
        return result
    return dataclasses.replace(result, archive=write_zip(folder, archive_path))


def _select(crops: Sequence[TestCrop], classes: Sequence[str] | None) -> Sequence[TestCrop]:
    """Return crops with those of their classes that are wanted.

    Raises
    ------
    InvalidArgumentError
        If none of the crops is scored in a class.
    """
    if classes is None:
        return crops
    scored = dict.fromkeys(name for crop in crops for name in crop.classes)
    for name in classes:
        if name not in scored:
            raise InvalidArgumentError(f"{name} is not scored in these test crops: {did_you_mean(name, scored)}")
    wanted = [
        dataclasses.replace(crop, classes=tuple(name for name in crop.classes if name in classes)) for crop in crops
    ]
    return [crop for crop in wanted if crop.classes]


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
                    found = Found(
                        crop=crop,
                        class_name=name,
                        source=source,
                        prediction=sources.find_prediction(crop.dataset, row.crop, name),
                    )
                    plans.append(plan_fit(found, folder, options))
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


def _entry(plan: FitPlan) -> dict[str, Any]:
    """Return what an array that was packed before says of itself; nothing if it is none of ours."""
    entry = read_attributes(plan.target).get(ATTRIBUTE)
    return entry if isinstance(entry, dict) else {}


def _check_existing(plans: Sequence[FitPlan]) -> None:
    """Refuse before any work is done, not in the middle of it."""
    for plan in plans:
        if plan.target.exists() and _entry(plan).get("made_with") != plan.fingerprint():
            raise ExistingOutputError(
                f"{plan.target} was packed from something else, or in another way; overwrite the submission"
            )


def _pack_all(
    plans: Sequence[FitPlan], existing: Existing, max_workers: int, progress: Progress | None
) -> list[PackedArray]:
    there = [plan for plan in plans if existing != "overwrite" and plan.target.exists()]
    rows = [_row_of(plan, "there", _entry(plan)) for plan in there]
    # The largest first: the last to finish is then a small one.
    plans = sorted((plan for plan in plans if plan not in there), key=lambda plan: -len(plan.blocks))
    total = sum(len(plan.blocks) for plan in plans)
    workers = min(max_workers, len(plans), 1 + total // BLOCKS_PER_PROCESS)
    if workers > 1:
        return rows + list(_pack_in_processes(plans, workers, progress))
    done = 0
    for plan in plans:
        rows.append(_pack_one(plan, shift_progress(progress, done, total)))
        done += len(plan.blocks)
    return rows


def _pack_in_processes(plans: Sequence[FitPlan], workers: int, progress: Progress | None) -> Iterator[PackedArray]:
    total, done = sum(len(plan.blocks) for plan in plans), 0
    with ProcessWorkers(workers, threads=1) as pool:
        futures: dict[Future[PackedArray], FitPlan] = {pool.submit(_pack_one, plan): plan for plan in plans}
        try:
            for future in as_completed(futures):
                plan = futures[future]
                try:
                    row = future.result()
                except WorkerDiedError as error:
                    row = _failed(plan, error)
                done += len(plan.blocks)
                if progress:
                    progress(done, total)
                yield row
        finally:
            pool.shutdown(cancel_futures=True)


def _pack_one(plan: FitPlan, progress: Progress | None = None) -> PackedArray:
    total = len(plan.blocks)
    try:
        with full_disk_told(plan.work):
            contents = write_packed(plan, lambda done: progress(done, total) if progress else None)
    except DiskFullError:  # not the fault of the source: nothing may be removed for it
        raise
    except (CscError, OSError) as error:
        return _failed(plan, error)
    return _row_of(plan, "packed" if contents.voxels else "empty", dataclasses.asdict(contents))


def _failed(plan: FitPlan, error: Exception) -> PackedArray:
    logger.warning("%s failed: %s", plan.target, error)
    return dataclasses.replace(_row_of(plan, "failed", {}), reason=str(error))


def _row_of(plan: FitPlan, status: PackStatus, contents: Mapping[str, Any]) -> PackedArray:
    return PackedArray(
        dataset=plan.crop.dataset,
        crop=f"crop{plan.crop.id}",
        class_name=plan.class_name,
        status=status,
        source=str(plan.source),
        voxels=contents.get("voxels", 0),
        instances=contents.get("instances"),
        covered=plan.covered,
    )
