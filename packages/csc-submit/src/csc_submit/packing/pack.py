"""Packing a submission: each class of each test crop on the grid it is scored on, then a zip."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from csc_data.blocks import Existing, Progress
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.user_config import Config
from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError, MissingDataError, did_you_mean
from csc_data.formats.writing import ensure_groups
from csc_data.storage.room import full_disk_told
from csc_data.volumes.stored_values import Kind
from csc_submit.packing.archive import GrowingZip
from csc_submit.packing.fitting import AsProbabilities, FitPlan, Found, PackOptions, plan_fit
from csc_submit.packing.results import PackedArray, PackResult
from csc_submit.packing.running import Packing, check_existing, remove_stale
from csc_submit.packing.sources import Sources
from csc_submit.workers import Workers, WorkOptions


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
    progress: Progress | None = None,
    **work: Unpack[WorkOptions],
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
    progress : callable, optional
        Called with the finished and all blocks, array by array.
    **work : object
        Where arrays are packed, each in one piece, see `csc_submit.workers.WorkOptions`; of ``max_workers`` there are
        fewer where there is little to do. The zip is written here, while others pack.

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

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import load_config, write_multiscale
    >>> from csc_data.challenge.test_crops import TestCrop, write_test_crops
    >>> from csc_submit import pack_results
    >>> place = {"voxel_size": (8.0, 8.0, 8.0), "translation": (0.0, 0.0, 0.0), "shape": (8, 8, 8)}
    >>> crop = TestCrop(id=1, dataset="mine", classes=("er",), **place)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_test_crops(f"{folder}/test_crop_manifest.csv", [crop])
    ...     config = load_config(data=folder, environ={})
    ...     processed = config.path("processed", dataset="mine", crop="crop1", class_name="er")
    ...     write_multiscale(processed, [np.ones((8, 8, 8), np.uint8)], [crop.grid])
    ...     packed = pack_results(config=config)
    ...     print([(row.crop, row.class_name, row.status) for row in packed.rows], packed.archive.name)
    [('crop1', 'er', 'packed')] submission.zip
    """
    workers = Workers(**work)
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
        check_existing(plans)
    for row in rows if plans else ():  # where nothing at all can be packed, an earlier submission may be all there is
        remove_stale(row, folder)
    packing = Packing(plans, folder, existing=existing, progress=progress)
    for place in dict.fromkeys([folder] * bool(plans) + [plan.target.parent for plan in plans]):
        ensure_groups(place)
    archive = None
    if zip:
        archive = _pack_and_zip(packing, workers, folder)
    else:
        packing.run(workers)
    rows += packing.rows
    rows.sort(key=lambda row: (int(row.crop.removeprefix("crop")), row.class_name))
    return PackResult(rows=tuple(rows), destination=folder, archive=archive)


def _pack_and_zip(packing: Packing, workers: Workers, folder: Path) -> Path | None:
    """Pack, and write the zip; return it, if anything is in it."""
    place = folder.with_suffix(".zip")
    if packing.left:
        # The folder changes from here on: a run that ends early must not leave the old zip beside it.
        place.unlink(missing_ok=True)
    with GrowingZip(folder, place, [plan.target for plan in packing.left]) as archive:
        packing.run(workers, archive)
        if not any(row.status != "failed" for row in packing.rows):
            return None
        archive.complete()
    return place


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
