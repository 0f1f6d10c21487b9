"""The lists that hold now: the data folder's, else the organisers' if they were refreshed, else the package's."""

from __future__ import annotations

from collections.abc import Mapping

from csc_data.challenge import crop_places, test_crops
from csc_data.challenge.cached_lists import cached_manifest
from csc_data.challenge.crop_places import CropPlace, get_crop_places, read_crop_places
from csc_data.challenge.test_crops import TestCrop, get_test_crops, read_test_crops
from csc_data.challenge.zip_places import ZipPlace, get_zip_places, read_zip_places
from csc_data.config.user_config import Config


def load_test_crops(config: Config | None = None) -> Mapping[int, TestCrop]:
    """Return the test crops by id; with a configuration, those of its data folder if that has a list.

    Raises
    ------
    ProblemsError
        If the list is damaged.
    """
    own = config.root / test_crops.FILE_NAME if config else None
    if own and own.is_file():
        return read_test_crops(own)
    cached = cached_manifest("test_crops")
    return get_test_crops() if cached is None else read_test_crops(cached.path)


def load_crop_places(config: Config) -> tuple[Mapping[int, CropPlace], str]:
    """Return where the annotated crops of a data folder lie, by id, and which list says so, in words.

    Raises
    ------
    ProblemsError
        If the list is damaged.
    """
    own = config.root / crop_places.FILE_NAME
    if own.is_file():
        return read_crop_places(own), str(own)
    cached = cached_manifest("crops")
    if cached is not None:
        return read_crop_places(cached.path), f"the organisers' list as of {cached.date} (refreshed)"
    return get_crop_places(), "the list in this package (--refresh reads the organisers' own)"


def load_zip_places() -> tuple[ZipPlace, ...]:
    """Return the organisers' archives.

    Raises
    ------
    ProblemsError
        If the list is damaged.
    """
    cached = cached_manifest("zips")
    return get_zip_places() if cached is None else read_zip_places(cached.path)
