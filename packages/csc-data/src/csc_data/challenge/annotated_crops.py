"""Where annotated crops and their raw lie in the bucket: the organisers' list ``manifest.csv``.

Columns: crop_name (or crop_number), dataset (or collection), alignment, crop_url, em_url.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from csc_data.challenge.csv_lists import parse_crop_id, read_csv_list
from csc_data.challenge.facts import get_storage
from csc_data.challenge.training_crops import training_crops_by_id
from csc_data.errors import InvalidArgumentError

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
    match = _URL.fullmatch(url)
    if match is None or {".", ".."} & set(match[2].split("/")):
        raise InvalidArgumentError(f"expected a URL like s3://bucket/folder, got {url!r}")
    return match[1], match[2]


def raw_url(dataset: str) -> str:
    """Return where the raw of a data set of the challenge lies.

    Examples
    --------
    >>> raw_url("jrc_hela-2")
    's3://janelia-cosem-datasets/jrc_hela-2/jrc_hela-2.zarr/recon-1/em/fibsem-uint8'
    """
    storage = get_storage()
    return f"s3://{storage['bucket']}/" + storage["raw"].format(dataset=dataset)


def get_crop_places() -> dict[int, CropPlace]:
    """Return where the annotated crops of the challenge lie, by id.

    Examples
    --------
    >>> get_crop_places()[234].dataset
    'jrc_cos7-1a'
    >>> get_crop_places()[234].labels
    's3://janelia-cosem-datasets/jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1/labels/groundtruth/crop234'
    """
    storage = get_storage()
    labels = f"s3://{storage['bucket']}/{storage['groundtruth']}"
    return {
        crop.id: CropPlace(
            id=crop.id,
            dataset=crop.dataset,
            labels=labels.format(dataset=crop.dataset, id=crop.id, label="").rstrip("/"),
            raw=raw_url(crop.dataset),
        )
        for crop in training_crops_by_id().values()
    }


def read_crop_places(path: str | os.PathLike[str]) -> dict[int, CropPlace]:
    r"""Read a list of annotated crops, by id.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "manifest.csv")
    ...     _ = file.write_text(
    ...         "crop_name,dataset,alignment,crop_url,em_url\ncrop1,a,x,s3://mine/a/labels,s3://mine/a/raw\n"
    ...     )
    ...     read_crop_places(file)[1].raw
    's3://mine/a/raw'
    """
    places: dict[int, CropPlace] = {}

    def take_row(row: Mapping[str, str]) -> None:
        place = CropPlace(
            id=parse_crop_id(row["crop_name"]), dataset=row["dataset"], labels=row["crop_url"], raw=row["em_url"]
        )
        if not _NAME.fullmatch(place.dataset):
            raise InvalidArgumentError(f"dataset {place.dataset!r} is not the name of a folder")
        for url in (place.labels, place.raw):
            split_url(url)
        if place.id in places:
            raise InvalidArgumentError(f"lists crop{place.id} twice")
        places[place.id] = place

    read_csv_list(path, COLUMNS, take_row, of="crops")
    return places
