"""Lists of crops with their grids and classes: test_crop_manifest.csv, train_crop_manifest.csv.

Columns: crop_name, dataset, class_label, voxel_size, translation, shape; triples as ``[z;y;x]``. The organisers write
one row for each crop and class; a row may also name several classes, as in the tables of this package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from csc_data.challenge.classes import get_tested_classes
from csc_data.challenge.csv_lists import parse_crop_id, parse_numbers, read_csv_list
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid, Shape, Triple, as_shape, as_triple

COLUMNS = ("crop_name", "dataset", "class_label", "voxel_size", "translation", "shape")
ALL_TESTED = "all tested"
"""Stands for the names of all classes that the challenge scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCrop:
    """A crop that a list describes; ``voxel_size`` and ``translation`` in nm, all z, y, x."""

    id: int
    dataset: str
    voxel_size: Triple
    translation: Triple
    shape: Shape
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder: ``crop234``."""
        return f"crop{self.id}"

    @property
    def grid(self) -> Grid:
        """The grid of its labels."""
        return Grid(voxel_size=self.voxel_size, translation=self.translation, shape=self.shape)


C = TypeVar("C", bound=ListedCrop)


def read_listed_crops(path: str | os.PathLike[str], kind: type[C]) -> dict[int, C]:
    r"""Read a list of crops, by id, in the order of the list.

    Parameters
    ----------
    path : path-like
    kind : type
        What the crops become.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood, and crops whose classes disagree on the grid.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.challenge import TestCrop
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "list.csv")
    ...     _ = file.write_text(
    ...         "crop_name,dataset,class_label,voxel_size,translation,shape\n"
    ...         "7,mine,er nuc,[8;8;8],[0;0;0],[40;40;40]\n"
    ...     )
    ...     read_listed_crops(file, TestCrop)[7].classes
    ('er', 'nuc')
    """
    places: dict[int, tuple[str, Grid]] = {}
    classes: dict[int, list[str]] = {}

    def take_row(row: Mapping[str, str]) -> None:
        crop_id = parse_crop_id(row["crop_name"])
        grid = Grid(
            voxel_size=as_triple(parse_numbers(row["voxel_size"]), "voxel_size"),
            translation=as_triple(parse_numbers(row["translation"]), "translation"),
            shape=as_shape(parse_numbers(row["shape"])),  # type: ignore[arg-type]  # 400.0 is a whole number, too
        )
        place = row["dataset"], grid
        label = row["class_label"]
        names = get_tested_classes() if label == ALL_TESTED else label.split()
        known = classes.get(crop_id, [])
        repeated = next((name for name in names if name in known), None)
        if repeated:
            raise InvalidArgumentError(f"lists {repeated} of crop{crop_id} twice")
        if places.setdefault(crop_id, place) != place:
            raise InvalidArgumentError(f"crop{crop_id} has another grid above")
        classes.setdefault(crop_id, []).extend(names)

    read_csv_list(path, COLUMNS, take_row, of="crops")
    return {
        crop_id: kind(
            id=crop_id,
            dataset=dataset,
            voxel_size=grid.voxel_size,
            translation=grid.translation,
            shape=grid.shape,
            classes=tuple(classes[crop_id]),
        )
        for crop_id, (dataset, grid) in places.items()
    }
