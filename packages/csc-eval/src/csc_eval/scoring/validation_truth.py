"""The truth of validation crops, built from the annotations that a datasplit names.

Predictions for them are then scored as if they were test crops.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from csc_data.config.user_config import Config, load_config
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError
from csc_data.formats.writing import create_array
from csc_data.formats.writing import read_attributes as read_stored_attributes
from csc_data.splits.split_file import SplitRow, read_datasplit
from csc_data.storage.stores.places import GatheredStore
from csc_data.volumes import Level, grid_attributes, open_volume
from csc_data.volumes.annotation_values import Encoding, read_encoding
from csc_data.volumes.stored_values import StoredValues
from csc_eval.instances.components import label_components, render_planes
from csc_eval.placing.align import is_instance_class
from csc_eval.voxels.arrays import Array, Shape
from csc_eval.voxels.runs import encode_runs

CHUNKS = (128, 128, 128)

_KINDS = {"probability": "probabilities", "logit": "logits", "distance": "distances"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationTruth:
    """A truth that was built.

    Attributes
    ----------
    path : Path
        The zarr folder.
    crops : mapping of str to SplitRow
        The datasplit's row of each crop.
    skipped : tuple of str
        Crops and classes that could not be built, with the reason.
    """

    path: Path
    crops: Mapping[str, SplitRow]
    skipped: tuple[str, ...]

    @property
    def raw(self) -> dict[str, str]:
        """Crop to the path of its raw volume."""
        return {crop: row.raw for crop, row in self.crops.items()}


class _LevelSource:
    """The voxels of one level of an annotation: unknown and absent ones are 0, or which ones are known."""

    def __init__(self, level: Level, encoding: Encoding, *, as_mask: bool) -> None:
        self.level = level
        self.encoding = encoding
        self.as_mask = as_mask
        self.shape: Shape = level.grid.shape
        chunk = tuple(map(int, level.array.chunks))
        self.chunks: Shape = (chunk[0], chunk[1], chunk[2])
        self.dtype: np.dtype[Any] = np.dtype(np.uint8) if as_mask else level.dtype.newbyteorder("=")
        self.order: Literal["C", "F"] = "C"

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        values = np.array(self.level.array[tuple(map(slice, begin, end))], order="C")
        absent, unknown = self.encoding.absent, self.encoding.unknown
        if self.as_mask:
            known: Array = (values != unknown).view(np.uint8)
            return known
        for value in (unknown, absent):
            if value:
                values[values == value] = 0
        return values.astype(self.dtype, copy=False)


def build_validation_truth(
    datasplit: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    instance_classes: Sequence[str] | None = None,
    data: Path | None = None,
) -> ValidationTruth:
    """Write the truth of a datasplit's validation crops as the challenge stores it.

    Place and voxel size come from the finest level of each annotation. Instance classes are split into connected
    components of equal ids. Voxels that the annotation's own encoding calls unknown are left out by a mask.

    Parameters
    ----------
    datasplit : path-like
        The CSV.
    path : path-like
        The zarr folder to be written.
    instance_classes : sequence of str, optional
        By default those of the challenge.
    data : Path, optional
        The data folder, where the datasplit may lie elsewhere.

    Raises
    ------
    MissingDataError
        If the datasplit has no validation crop, or none of them could be read.
    """
    rows = [row for row in read_datasplit(datasplit, data) if row.usage == "validate"]
    if not rows:
        raise MissingDataError(f"{os.fspath(datasplit)} names no validation crops; `csc make-datasplit` chooses some")
    root, skipped = Path(path), []
    crops: dict[str, SplitRow] = {}
    for row in rows:
        for class_name in row.classes:
            try:
                instance = is_instance_class(class_name, instance_classes)
                write_label(f"{row.labels.rstrip('/')}/{class_name}", root / row.crop / class_name, instance=instance)
                crops.setdefault(row.crop, row)
            except CscError as error:
                skipped.append(f"{row.crop}/{class_name}: {error}")
    if not crops:
        raise MissingDataError(f"no validation crop of {os.fspath(datasplit)} could be read: {skipped[0]}")
    return ValidationTruth(path=root, crops=crops, skipped=tuple(skipped))


def write_label(annotation: str, path: Path, *, instance: bool) -> None:
    """Write the truth of one class of one crop, and beside it ``{path}_mask`` where some of it is unknown.

    Parameters
    ----------
    annotation : str
        The volume of the annotation, path or URL.
    path : Path
        The array to be written.
    instance : bool
        Whether ids are split into connected components, or become 1.

    Raises
    ------
    MissingDataError, UnreadableDataError
        If there is no such volume, or it cannot be read.
    """
    volume = open_volume(annotation)
    level = volume.levels[0]
    encoding = read_encoding(level.array.attrs) or read_encoding(volume.attributes) or Encoding()
    source = _LevelSource(level, encoding, as_mask=False)
    attributes = grid_attributes(level.grid)
    dtype = np.dtype(np.uint32) if instance else np.dtype(np.uint8)
    array = create_array(path, shape=source.shape, dtype=dtype, chunks=CHUNKS, attributes=attributes, labels=True)
    components = label_components(encode_runs(source)) if instance else None
    mask = None
    for z in range(0, source.shape[0], CHUNKS[0]):
        begin, end = (z, 0, 0), (min(z + CHUNKS[0], source.shape[0]), *source.shape[1:])
        if components is not None:
            array[z : end[0]] = render_planes(components.runs, components.label, z, end[0])
        else:
            array[z : end[0]] = source.read(begin, end) > 0
        if encoding.unknown is not None:
            known = _LevelSource(level, encoding, as_mask=True).read(begin, end)
            if mask is None and not known.all():
                place = path.with_name(f"{path.name}_mask")
                mask = create_array(place, shape=source.shape, dtype=np.uint8, chunks=CHUNKS, attributes=attributes)
                mask[:z] = 1
            if mask is not None:
                mask[z : end[0]] = known


def _check_labels(folder: Path, classes: Sequence[str]) -> None:
    """Refuse probabilities: scored as they are, every grey value would be an instance."""
    for name in classes:
        stored = StoredValues.from_attributes(read_stored_attributes(folder / name))
        if stored is not None and stored.kind != "label":
            raise InvalidArgumentError(
                f"{folder / name} holds {_KINDS[stored.kind]}; `csc process` makes labels of them"
            )


def gather_predictions(truth: ValidationTruth, config: Config | str | None = None) -> GatheredStore:
    """Return the predictions of a truth's crops, processed ones where there are any, as one submission.

    Raises
    ------
    MissingDataError
        If there is none for any crop.
    InvalidArgumentError
        If they are probabilities, logits or distances, not labels.
    """
    known = config if isinstance(config, Config) else load_config(data=config)
    folders = {}
    for crop, row in truth.crops.items():
        for kind in ("processed", "predictions"):
            # The template ends in the class; the crop is the folder above it.
            folder = known.path(kind, dataset=row.dataset, crop=crop, class_name="class").parent
            if folder.is_dir():
                _check_labels(folder, row.classes)
                folders[crop] = folder
                break
    if not folders:
        raise MissingDataError(
            f"there are no predictions of {', '.join(sorted(truth.crops))} below {known.root}; "
            "`csc predict --crops validation` makes them, or name a submission"
        )
    return GatheredStore(folders)
