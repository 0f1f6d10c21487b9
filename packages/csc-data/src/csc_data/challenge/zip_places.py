"""The organisers' archives of everything, and their list ``zip_manifest.csv``.

Columns: all_res, raw_padding, file, url.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csc_data.challenge.annotated_crops import split_url
from csc_data.challenge.csv_lists import read_csv_list
from csc_data.errors import InvalidArgumentError

FILE_NAME = "zip_manifest.csv"
COLUMNS = ("all_res", "raw_padding", "url")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipPlace:
    """An archive of the organisers: whether it holds all resolutions, the padding of the raw in voxels, its URL."""

    all_resolutions: bool
    padding: int
    url: str


def get_zip_places() -> tuple[ZipPlace, ...]:
    """Return the archives that this package knows.

    Examples
    --------
    >>> sorted({place.padding for place in get_zip_places()})
    [0, 128]
    """
    return read_zip_places(Path(__file__).with_name("zip_places.csv"))


def read_zip_places(path: str | os.PathLike[str]) -> tuple[ZipPlace, ...]:
    """Read the list of archives.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood.
    """
    places: list[ZipPlace] = []

    def take_row(row: Mapping[str, str]) -> None:
        if row["all_res"] not in {"True", "False"} or not row["raw_padding"].isdigit():
            given = f"{row['all_res']!r} and {row['raw_padding']!r}"
            raise InvalidArgumentError(f"all_res must be True or False and raw_padding a number, got {given}")
        split_url(row["url"])
        places.append(
            ZipPlace(all_resolutions=row["all_res"] == "True", padding=int(row["raw_padding"]), url=row["url"])
        )

    read_csv_list(path, COLUMNS, take_row, of="archives")
    return tuple(places)
