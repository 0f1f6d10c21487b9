"""The organisers' list of annotated crops, ``manifest.csv``: where each crop and its raw lie in the bucket.

Columns: crop_name, dataset, alignment, crop_url, em_url. A data folder may bring its own list, like that of the test
crops (`csc_data.challenge.test_crops`).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError

FILE_NAME = "manifest.csv"
COLUMNS = ("crop_name", "dataset", "alignment", "crop_url", "em_url")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]+)/((?:[^/\s]+/)*[^/\s]+)/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlace:
    """Where an annotated crop lies: URLs like ``s3://bucket/...``."""

    id: int
    dataset: str
    labels: str
    raw: str


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URL.

    >>> split_url("s3://bucket/a.zarr/b/")
    ('bucket', 'a.zarr/b')

    Raises
    ------
    InvalidArgumentError
        If it is none, or goes up.
    """
    match = _URL.fullmatch(url.strip())
    if match is None or {".", ".."} & set(match[2].split("/")):
        raise InvalidArgumentError(f"expected a URL like s3://bucket/folder, got {url!r}")
    return match[1], match[2]


def read_crop_manifest(path: str | os.PathLike[str]) -> dict[int, CropPlace]:
    """Read a list of annotated crops, by id.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no manifest {file}")
    crops: dict[int, CropPlace] = {}
    problems = []
    with file.open(newline="", encoding="utf-8") as stream:
        # The organisers write blanks behind the commas of the header.
        reader = csv.DictReader(stream, skipinitialspace=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ProblemsError(str(file), [Problem(where="header", what=f"lacks {', '.join(missing)}")])
        for number, row in enumerate(reader, start=2):
            try:
                crop = _parse(row)
            except (ValueError, TypeError, AttributeError) as error:
                problems.append(Problem(where=f"row {number}", what=str(error)))
                continue
            if crop.id in crops:
                problems.append(Problem(where=f"row {number}", what=f"lists crop{crop.id} twice"))
            crops[crop.id] = crop
    if not crops and not problems:
        problems.append(Problem(where="file", what="lists no crops"))
    if problems:
        raise ProblemsError(str(file), problems)
    return crops


def _parse(row: Mapping[str, str]) -> CropPlace:
    digits = row["crop_name"].strip().removeprefix("crop")
    if not digits.isdigit():
        raise InvalidArgumentError(f"crop_name {row['crop_name']!r} is no number")
    dataset = row["dataset"].strip()
    if not _NAME.fullmatch(dataset):
        raise InvalidArgumentError(f"dataset {dataset!r} is no name of a folder")
    for name in ("crop_url", "em_url"):
        split_url(row[name])
    return CropPlace(id=int(digits), dataset=dataset, labels=row["crop_url"].strip(), raw=row["em_url"].strip())
