"""The lists that hold now: the data folder's, else the organisers' if they were refreshed, else the package's.

Those that `csc_data.challenge.refreshing` reads lie in the user's cache, each with a file that tells where it is from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from csc_data.challenge import annotated_crops, test_crops, zip_places
from csc_data.challenge.annotated_crops import CropPlace, get_crop_places, read_crop_places
from csc_data.challenge.test_crops import TestCrop, get_test_crops, read_test_crops
from csc_data.challenge.zip_places import ZipPlace, get_zip_places, read_zip_places
from csc_data.config.user_config import Config
from csc_data.errors import UnreadableDataError
from csc_data.storage.paths import is_remote

ManifestName = Literal["crops", "test_crops", "zips"]

MANIFEST_FILES: dict[ManifestName, str] = {
    "crops": annotated_crops.FILE_NAME,
    "test_crops": test_crops.FILE_NAME,
    "zips": zip_places.FILE_NAME,
}
"""The organisers' names of their lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedManifest:
    """A manifest in the user's cache: its file, where it came from, when (seconds since 1970), and its length."""

    name: str
    path: Path
    url: str
    read_at: float
    entries: int

    @property
    def date(self) -> str:
        """When it was read, for people."""
        return time.strftime("%Y-%m-%d", time.localtime(self.read_at))


def cache_folder() -> Path:
    """Return where refreshed manifests lie, or would lie."""
    return Path(platformdirs.user_cache_path("csc", appauthor=False)) / "manifests"


def load_test_crops(config: Config | None = None) -> Mapping[int, TestCrop]:
    """Return the test crops by id; with a configuration, those of its data folder if that has a list.

    Raises
    ------
    ProblemsError
        If the list is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import get_test_crops, load_config
    >>> from csc_data.challenge.test_crops import write_test_crops
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_test_crops(Path(folder, "test_crop_manifest.csv"), [get_test_crops()[557]])
    ...     list(load_test_crops(load_config(data=folder)))
    [557]
    """
    own = config.root / test_crops.FILE_NAME if config else None
    if own and own.is_file():
        return read_test_crops(own)
    cached = cached_manifest("test_crops")
    return get_test_crops() if cached is None else read_test_crops(cached.path)


def load_present_test_crops(config: Config) -> Mapping[int, TestCrop]:
    """Return the test crops, by id, of whose data sets there is raw: what can be submitted with this data folder.

    Raises
    ------
    ProblemsError
        If the list is damaged.

    Examples
    --------
    >>> from csc_data import load_config
    >>> len(load_present_test_crops(load_config(data="an empty folder", environ={})))
    0
    """
    crops = load_test_crops(config)
    if is_remote(config.raw):
        return crops
    there = {name for name in {crop.dataset for crop in crops.values()} if config.path("raw", dataset=name).exists()}
    return {number: crop for number, crop in crops.items() if crop.dataset in there}


def load_crop_places(config: Config) -> tuple[Mapping[int, CropPlace], str]:
    """Return where the annotated crops of a data folder lie, by id, and which list says so, in words.

    Raises
    ------
    ProblemsError
        If the list is damaged.
    """
    own = config.root / annotated_crops.FILE_NAME
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


def cached_manifest(name: ManifestName) -> CachedManifest | None:
    """Return a manifest that was read from the network before; None where none was."""
    path = cache_folder() / MANIFEST_FILES[name]
    try:
        origin = json.loads(origin_file(path).read_text(encoding="utf-8"))
        return CachedManifest(
            name=name,
            path=path,
            url=str(origin["url"]),
            read_at=float(origin["read_at"]),
            entries=int(origin["entries"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UnreadableDataError(f"{origin_file(path)} is damaged ({error}); delete {path.parent}") from error


def origin_file(path: Path) -> Path:
    """Return the file beside a cached list that tells where it came from.

    Examples
    --------
    >>> from pathlib import Path
    >>> origin_file(Path("manifest.csv")).name
    'manifest.csv.origin.json'
    """
    return path.with_name(f"{path.name}.origin.json")
