"""The test crops: what a submission must hold.

Those of the challenge are facts in this package, ``test_crops.csv``. A data folder may bring its own list,
``test_crop_manifest.csv`` in the organisers' form; `csc_data.challenge.current_lists.load_test_crops` gives those that
hold.
"""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from csc_data.challenge.listed_crops import COLUMNS, ListedCrop, read_listed_crops
from csc_data.errors import CscError
from csc_data.geometry import Shape, Triple

FILE_NAME = "test_crop_manifest.csv"


class UnknownCropError(CscError, KeyError):
    """A crop id that the challenge does not have."""

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCrop(ListedCrop):
    """One crop that the challenge scores, on its grid, in its classes."""

    __test__ = False  # pytest would collect the name


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCropRow:
    """One class of a test crop, as a row of the organisers' list: what `csc_data.challenge.TEST_CROPS` holds."""

    __test__ = False

    id: int
    dataset: str
    class_label: str
    voxel_size: Triple
    translation: Triple
    shape: Shape


@functools.cache
def get_test_crops() -> Mapping[int, TestCrop]:
    """Return the crops that the challenge scores, by id.

    Examples
    --------
    >>> from csc_data import get_test_crops
    >>> crop = get_test_crops()[557]
    >>> crop.dataset, crop.shape, crop.voxel_size
    ('jrc_ctl-id8-1', (600, 600, 600), (1.74, 2.0, 2.0))
    """
    return MappingProxyType(read_listed_crops(Path(__file__).with_name("test_crops.csv"), TestCrop))


def get_test_crop_labels(crop_id: int) -> tuple[str, ...]:
    """Return the classes that are scored in a test crop.

    Raises
    ------
    UnknownCropError
        If the challenge has no such test crop.

    Examples
    --------
    >>> len(get_test_crop_labels(557))
    48
    """
    try:
        return get_test_crops()[crop_id].classes
    except KeyError:
        known = ", ".join(map(str, get_test_crops()))
        raise UnknownCropError(f"{crop_id} is not a test crop of the challenge; they are {known}") from None


def as_rows(crops: Iterable[TestCrop]) -> tuple[TestCropRow, ...]:
    """Return a row for each crop and class.

    Examples
    --------
    >>> rows = as_rows([get_test_crops()[557]])
    >>> rows[0].id, rows[0].class_label
    (557, 'ecs')
    """
    return tuple(
        TestCropRow(
            id=crop.id,
            dataset=crop.dataset,
            class_label=name,
            voxel_size=crop.voxel_size,
            translation=crop.translation,
            shape=crop.shape,
        )
        for crop in crops
        for name in crop.classes
    )


def select_crops(crops: Mapping[int, TestCrop], wanted: Iterable[str] | None) -> tuple[TestCrop, ...]:
    """Choose crops by id (``557`` or ``crop557``); all for None.

    Raises
    ------
    UnknownCropError
        If an id is not among them.

    Examples
    --------
    >>> [crop.id for crop in select_crops(get_test_crops(), ["557", "crop558"])]
    [557, 558]
    """
    if wanted is None:
        return tuple(crops.values())
    chosen = []
    for name in wanted:
        digits = str(name).strip().removeprefix("crop")
        if not digits.isdigit() or int(digits) not in crops:
            raise UnknownCropError(f"{name} is not a test crop here; they are {', '.join(map(str, crops))}")
        chosen.append(crops[int(digits)])
    return tuple(chosen)


def read_test_crops(path: str | os.PathLike[str]) -> dict[int, TestCrop]:
    """Read a list of test crops, by id; see `csc_data.challenge.listed_crops.read_listed_crops`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "test_crop_manifest.csv")
    ...     write_test_crops(file, [get_test_crops()[557]])
    ...     read_test_crops(file) == {557: get_test_crops()[557]}
    True
    """
    return read_listed_crops(path, TestCrop)


def write_test_crops(path: str | os.PathLike[str], crops: Iterable[TestCrop]) -> None:
    r"""Write a list of test crops in the organisers' form.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "test_crop_manifest.csv")
    ...     write_test_crops(file, [get_test_crops()[557]])
    ...     print(*file.read_text().splitlines()[:2], sep="\n")
    crop_name,dataset,class_label,voxel_size,translation,shape
    557,jrc_ctl-id8-1,ecs,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;600]
    """
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for crop in crops:
            grid = [
                "[" + ";".join(map(str, values)) + "]" for values in (crop.voxel_size, crop.translation, crop.shape)
            ]
            writer.writerows([crop.id, crop.dataset, name, *grid] for name in crop.classes)
