"""Writing a submission anew without the faults that can be mended safely; no voxel changes its value."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import CscError, ExistingOutputError, InvalidArgumentError, ProblemsError, UnreadableDataError
from csc_data.formats.writing import create_array, ensure_groups
from csc_data.storage.stores.places import FolderStore, Store
from csc_data.storage.stores.submissions import open_store
from csc_data.storage.stores.zips import ZipStore
from csc_eval import Finding, Validation, validate_submission
from csc_eval.placing.align import is_instance_class
from csc_eval.placing.predictions import CropGrid, Prediction, open_prediction
from csc_eval.validating.contents import read_contents
from csc_eval.validating.labels import meant_class
from csc_eval.voxels.arrays import StoredArray, open_stored
from csc_submit.packing.archive import write_zip
from csc_submit.packing.fitting import BLOCK_SHAPE, CHUNKS
from csc_submit.packing.writing import stored_chunks
from csc_submit.values import unsigned_dtype

_DEEPEST = 3  # zips within zips
_EXACT = 2**53  # up to here a float tells whole numbers apart


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResult:
    """What became of a submission.

    Attributes
    ----------
    archive : Path
        The new zip.
    fixed : tuple of Finding
        What was wrong and is not any more.
    left_out : tuple of str
        Labels that cannot be read, each with the reason.
    report : Validation
        What is found in the new zip.
    """

    archive: Path
    fixed: tuple[Finding, ...]
    left_out: tuple[str, ...]
    report: Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """A class of a test crop, and the folder that it lies in."""

    crop: TestCrop
    class_name: str
    key: str

    @property
    def grid(self) -> CropGrid:
        return CropGrid(voxel_size=self.crop.voxel_size, translation=self.crop.translation, shape=self.crop.shape)


def fix_submission(
    submission: str | os.PathLike[str], destination: str | os.PathLike[str], *, config: Config | None = None
) -> FixResult:
    """Write a submission anew, as the portal takes it.

    Mended are the layout (zips within zips, folders further down, ``__MACOSX``, stray files), names of crops and
    classes, groups and formats that the portal does not see, attributes that the crop's own shape implies, and types
    that lose nothing. Values, and arrays of another shape or at another place, stay as they are.

    Parameters
    ----------
    submission : path-like
        A zip or a folder; it is not changed.
    destination : path-like
        The zip to write.
    config : csc_data.config.user_config.Config, optional
        Its data folder may bring its own list of test crops.

    Raises
    ------
    ExistingOutputError
        If the destination is there.
    ProblemsError
        If the submission has faults as a whole that nobody can mend safely.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_submit import fix_submission
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/mine.zarr/crop557/ER"  # the class is called er
    ...     _ = create_array(place, shape=(600, 600, 600), dtype="u1", chunks=(600, 600, 600))
    ...     fixed = fix_submission(f"{folder}/mine.zarr", f"{folder}/fixed.zip")
    ...     print([finding.where for finding in fixed.fixed], fixed.report.ok)
    ['crop557/ER'] True
    """
    target = Path(destination)
    if target.exists():
        raise ExistingOutputError(f"{target} exists; choose another place for the new submission")
    if target.suffix != ".zip":
        raise InvalidArgumentError(f"{target} must end in .zip")
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        before, store = _open(Path(submission), work, config)
        folder = work / "submission.zarr"
        ensure_groups(folder)
        left_out = []
        for label in _find_labels(store, config):
            try:
                _rewrite(store, label, folder)
            except CscError as error:
                shutil.rmtree(folder / f"crop{label.crop.id}" / label.class_name, ignore_errors=True)
                left_out.append(f"crop{label.crop.id}/{label.class_name}: {error}")
        write_zip(folder, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = validate_submission(target, config=config)
    still = {(finding.cause.name, finding.where) for finding in report.findings}
    out = {line.partition(":")[0] for line in left_out}
    fixed = [f for f in before if (f.cause.name, f.where) not in still and f.where not in out]
    return FixResult(archive=target, fixed=tuple(fixed), left_out=tuple(left_out), report=report)


def _open(path: Path, work: Path, config: Config | None) -> tuple[list[Finding], Store]:
    """Find the crops, however deep they lie; nested zips are taken out one by one."""
    found: list[Finding] = []
    for depth in range(_DEEPEST + 1):
        findings = validate_submission(path, config=config).findings
        found += findings
        whole = [finding for finding in findings if finding.cause.verdict == "refused"]
        causes = {finding.cause.name: finding.where for finding in whole}
        if not causes or "macosx_zarr" in causes:
            return found, open_store(path)
        if "deeper" in causes:
            inside = causes["deeper"]
            return found, FolderStore(path / inside) if path.is_dir() else ZipStore(path, prefix=inside)
        if "nested_zip" not in causes or depth == _DEEPEST:
            break
        path = _take_out(path, causes["nested_zip"], work / f"{depth}.zip")
    raise ProblemsError(f"{path} cannot be mended", [finding.problem for finding in whole])


def _take_out(path: Path, member: str, target: Path) -> Path:
    if path.is_dir():
        return path / member
    with zipfile.ZipFile(path) as archive, archive.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)
    return target


def _find_labels(store: Store, config: Config | None) -> Iterator[_Label]:
    folders = store.folders("")
    for number, crop in load_test_crops(config).items():
        place = next((name for name in (f"crop{number}", str(number)) if name in folders), None)
        if place is None:
            continue
        there = [name for name in store.folders(place) if not name.startswith(".")]
        names = {name: name for name in crop.classes if name in there}
        for other in there:
            meant = meant_class(other, [name for name in crop.classes if name not in names])
            if other not in crop.classes and meant is not None:
                names[meant] = other
        for name, folder in names.items():
            yield _Label(crop=crop, class_name=name, key=f"{place}/{folder}")


def _rewrite(store: Store, label: _Label, folder: Path) -> None:
    prediction = _open_label(store, label)
    source = prediction.voxels
    assert isinstance(source, StoredArray)
    contents = read_contents(source, instance=is_instance_class(label.class_name))
    dtype: np.dtype[Any] = source.dtype
    if contents.whole and contents.finite and contents.lowest >= 0 and contents.largest <= _EXACT:
        dtype = unsigned_dtype(int(contents.largest))
    place = {"voxel_size": prediction.voxel_size, "translation": prediction.translation}
    if source.shape == label.crop.shape:  # what is not said is what the portal takes it for
        place["voxel_size"] = place["voxel_size"] or label.crop.voxel_size
        place["translation"] = place["translation"] or label.crop.translation
    attributes: dict[str, Any] = {key: list(value) for key, value in place.items() if value is not None}
    target = folder / f"crop{label.crop.id}" / label.class_name
    array = create_array(target, shape=source.shape, dtype=dtype, chunks=CHUNKS, labels=True)
    for block in BlockGrid(shape=source.shape, block_shape=BLOCK_SHAPE):
        values = source.read(block.begin, [b + n for b, n in zip(block.begin, block.shape, strict=True)])
        if values.any():
            array[block.write] = values.astype(dtype)
    array.attrs.update({**attributes, "shape": list(source.shape), **stored_chunks(target)})


def _open_label(store: Store, label: _Label) -> Prediction:
    try:
        return open_prediction(store, label.key, label.grid, geometry="full")
    except UnreadableDataError:
        voxels, _ = open_stored(store, label.key)
        if voxels.shape != label.crop.shape:
            raise
        return Prediction(voxels=voxels, voxel_size=None, translation=None)
