"""The organisers' lists that were read again, in the user's cache; they go before those in this package."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from csc_data.challenge import crop_places, test_crops, zip_places
from csc_data.errors import UnreadableDataError

ManifestName = Literal["crops", "test_crops", "zips"]

MANIFEST_FILES: dict[ManifestName, str] = {
    "crops": crop_places.FILE_NAME,
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
    """Return the file beside a cached list that tells where it came from."""
    return path.with_name(f"{path.name}.origin.json")
