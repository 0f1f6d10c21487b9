"""The test crops of a data folder: what a submission must hold.

A data folder may bring its own list, ``test_crop_manifest.csv`` in the organisers' form (one row a crop and class:
crop_name, dataset, class_label, voxel_size, translation, shape; triples as ``[z;y;x]``). Without one, the crops of the
challenge hold: those of the organisers' list if it was refreshed (`csc_data.challenge.refreshing`), else those in
this package.
"""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from csc_data.challenge.cached_lists import cached_manifest
from csc_data.challenge.classes import get_tested_classes
from csc_data.challenge.facts import facts
from csc_data.config.user_config import Config
from csc_data.errors import CscError, InvalidArgumentError, MissingDataError, Problem, ProblemsError
from csc_data.geometry import Grid, Shape, as_shape, as_triple

FILE_NAME = "test_crop_manifest.csv"
COLUMNS = ("crop_name", "dataset", "class_label", "voxel_size", "translation", "shape")


class UnknownCropError(CscError, KeyError):
    """A crop id that the challenge does not have."""

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCrop:
    """One crop that the challenge scores; ``voxel_size`` and ``translation`` in nm, all z, y, x."""

    __test__ = False  # pytest would collect the name

    id: int
    dataset: str
    voxel_size: tuple[float, float, float]
    translation: tuple[float, float, float]
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


@functools.cache
def get_test_crops() -> Mapping[int, TestCrop]:
    """Return the crops that the challenge scores, by id."""
    crops = {}
    for key, entry in facts()["test_crops"].items():
        labels = entry["labels"]
        crops[int(key)] = TestCrop(
            id=int(key),
            dataset=entry["dataset"],
            voxel_size=as_triple(entry["voxel_size"], "voxel_size"),
            translation=as_triple(entry["translation"], "translation"),
            shape=as_shape(entry["shape"], "shape"),
            classes=get_tested_classes() if labels == "all tested" else tuple(labels),
        )
    return MappingProxyType(crops)


def get_test_crop_labels(crop_id: int) -> tuple[str, ...]:
    """Return the classes that are scored in a test crop.

    Raises
    ------
    UnknownCropError
        If the challenge has no such test crop.
    """
    try:
        return get_test_crops()[crop_id].classes
    except KeyError:
        known = ", ".join(map(str, get_test_crops()))
        raise UnknownCropError(f"{crop_id} is no test crop of the challenge; they are {known}") from None


def crop_grid(crop: TestCrop) -> Grid:
    """Return the grid that a test crop is scored on."""
    return Grid(voxel_size=crop.voxel_size, translation=crop.translation, shape=crop.shape)


def load_test_crops(config: Config) -> Mapping[int, TestCrop]:
    """Return the test crops of a data folder, by id: its own list, else a refreshed one, else the package's.

    Raises
    ------
    ProblemsError
        If its list is damaged.
    """
    file = config.root / FILE_NAME
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
        With every row that cannot be understood, and crops whose classes disagree on the grid.
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
                problems.append(Problem(where=f"row {number}", what=f"crop{crop.id} has another grid above"))
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
            grid = [
                "[" + ";".join(map(str, values)) + "]" for values in (crop.voxel_size, crop.translation, crop.shape)
            ]
            writer.writerows([crop.id, crop.dataset, name, *grid] for name in crop.classes)
