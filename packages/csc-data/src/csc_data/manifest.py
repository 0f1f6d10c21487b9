"""The test crops of a data folder: what a submission must hold.

A data folder may bring its own list, ``test_crop_manifest.csv`` in the organisers' form (one row a crop and class:
crop_name, dataset, class_label, voxel_size, translation, shape; triples as ``[z;y;x]``). Without one, the crops of the
challenge hold: those of the organisers' list if it was refreshed (`csc_data.refresh`), else those in this package.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from csc_data.challenge import TestCrop, UnknownCropError, get_test_crops
from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError
from csc_data.geometry import Grid, Shape, as_shape, as_triple
from csc_data.settings import Settings

FILE_NAME = "test_crop_manifest.csv"
COLUMNS = ("crop_name", "dataset", "class_label", "voxel_size", "translation", "shape")


def crop_grid(crop: TestCrop) -> Grid:
    """Return the lattice that a test crop is scored on."""
    return Grid(voxel_size=crop.voxel_size, translation=crop.translation, shape=crop.shape)


def load_test_crops(settings: Settings) -> Mapping[int, TestCrop]:
    """Return the test crops of a data folder, by id: its own list, else a refreshed one, else the package's.

    Raises
    ------
    ProblemsError
        If its list is damaged.
    """
    from csc_data.refresh import cached_manifest

    file = settings.root / FILE_NAME
    if file.is_file():
        return read_manifest(file)
    cached = cached_manifest("test_crops")
    return get_test_crops() if cached is None else read_manifest(cached.path)


def select_crops(crops: Mapping[int, TestCrop], wanted: Iterable[str] | None) -> tuple[TestCrop, ...]:
    """Choose crops by id (``557`` or ``crop557``); all for None.

    Raises
    ------
    UnknownCropError
        If an id is not among them.
    """
    if wanted is None:
        return tuple(crops.values())
    chosen = []
    for name in wanted:
        digits = str(name).strip().removeprefix("crop")
        if not digits.isdigit() or int(digits) not in crops:
            raise UnknownCropError(f"{name} is no test crop here; they are {', '.join(map(str, crops))}")
        chosen.append(crops[int(digits)])
    return tuple(chosen)


def read_manifest(path: str | os.PathLike[str]) -> dict[int, TestCrop]:
    """Read a list of test crops.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood, and crops whose classes disagree on the lattice.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no manifest {file}")
    crops: dict[int, TestCrop] = {}
    problems = []
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ProblemsError(str(file), [Problem(where="header", what=f"lacks {', '.join(missing)}")])
        for number, row in enumerate(reader, start=2):
            try:
                crop = _parse(row)
            except (ValueError, TypeError, AttributeError) as error:
                problems.append(Problem(where=f"row {number}", what=str(error)))
                continue
            known = crops.get(crop.id)
            if known is None:
                crops[crop.id] = crop
            elif crop.classes[0] in known.classes:
                problems.append(Problem(where=f"row {number}", what=f"lists {crop.classes[0]} of crop{crop.id} twice"))
            elif crop_grid(known) != crop_grid(crop) or known.dataset != crop.dataset:
                problems.append(Problem(where=f"row {number}", what=f"crop{crop.id} has another lattice above"))
            else:
                crops[crop.id] = TestCrop(
                    id=crop.id,
                    dataset=crop.dataset,
                    voxel_size=crop.voxel_size,
                    translation=crop.translation,
                    shape=crop.shape,
                    classes=(*known.classes, *crop.classes),
                )
    if not crops and not problems:
        problems.append(Problem(where="file", what="lists no crops"))
    if problems:
        raise ProblemsError(str(file), problems)
    return crops


def _parse(row: Mapping[str, str]) -> TestCrop:
    digits = row["crop_name"].strip().removeprefix("crop")
    if not digits.isdigit():
        raise InvalidArgumentError(f"crop_name {row['crop_name']!r} is no number")
    crop = TestCrop(
        id=int(digits),
        dataset=row["dataset"].strip(),
        voxel_size=as_triple(_numbers(row["voxel_size"]), "voxel_size"),
        translation=as_triple(_numbers(row["translation"]), "translation"),
        shape=_shape(row["shape"]),
        classes=(row["class_label"].strip(),),
    )
    crop_grid(crop)  # checks the voxel size
    return crop


def _shape(text: str) -> Shape:
    numbers = _numbers(text)
    if not all(number.is_integer() for number in numbers):
        raise InvalidArgumentError(f"shape must be three whole numbers (z, y, x), got {text}")
    return as_shape([int(number) for number in numbers])


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.strip().strip("[]()").replace(",", ";").split(";")]


def write_manifest(path: str | os.PathLike[str], crops: Iterable[TestCrop]) -> None:
    """Write a list of test crops in the organisers' form."""
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for crop in crops:
            lattice = [
                "[" + ";".join(map(str, values)) + "]" for values in (crop.voxel_size, crop.translation, crop.shape)
            ]
            writer.writerows([crop.id, crop.dataset, name, *lattice] for name in crop.classes)
