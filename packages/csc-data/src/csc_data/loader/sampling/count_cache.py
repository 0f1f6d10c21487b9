"""Counts of crops in the user's cache, so that the next run need not read all annotations again.

Nothing is ever written beside the annotations. A record belongs to certain files: when one of them is changed, or
others are asked for, it is not found. What cannot be read or written is counted again; a cache must not make work fail.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from csc_data.geometry import Grid
from csc_data.loader.sampling.counts import CropCounts
from csc_data.splits.annotations import AnnotatedCrop
from csc_data.storage.paths import is_remote

_VERSION = 2
_PARSING = threading.Lock()
"""Held while headers are read: numpy does that by `ast`, which Python 3.11 may fail in several threads at once."""

_log = logging.getLogger(__name__)


def counts_folder() -> Path:
    """Return where counts are kept.

    Examples
    --------
    >>> counts_folder().name
    'counts'
    """
    return Path(platformdirs.user_cache_path("csc", appauthor=False)) / "counts"


def find_counts(key: str, grid: Grid) -> CropCounts | None:
    """Return the counts that are kept under a key, or None if they do not exist or cannot be read."""
    try:
        with _PARSING, np.load(counts_folder() / f"{key}.npz", allow_pickle=False) as stored:
            return CropCounts(grid=grid, present=stored["present"], known=stored["known"], rows=stored.get("rows"))
    # SystemError: other threads, such as a compiler's, use `ast` too (python/cpython#106905).
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, SystemError) as error:
        if not isinstance(error, FileNotFoundError):
            _log.debug("counts %s cannot be read, so the crop is counted again: %s", key, error)
        return None


def keep_counts(key: str, counts: CropCounts) -> None:
    """Keep counts under a key; a file is complete or not there."""
    arrays: dict[str, Any] = {"present": counts.present, "known": counts.known}
    if counts.rows is not None:
        arrays["rows"] = counts.rows
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    folder = counts_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
            try:
                file.write(content.getbuffer())
                file.close()
                Path(file.name).replace(folder / f"{key}.npz")
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        _log.debug("counts are not kept: %s", error)


def counts_key(crop: AnnotatedCrop, classes: Sequence[str], excludes: Mapping[str, tuple[int, ...]], grid: Grid) -> str:
    """Return the key of the counts of a crop: a digest of what they depend on."""
    volumes = {name: [_fingerprint(volume) for volume in volumes] for name, volumes in sorted(crop.labels.items())}
    place = [grid.voxel_size, grid.translation, grid.shape]
    there = crop.raw.levels[0].grid.bounds  # labels are unknown beyond
    text = json.dumps(
        [_VERSION, volumes, there.begin, there.end, list(classes), sorted(excludes.items()), place], default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _fingerprint(volume: Any) -> list[Any]:
    """Return what changes when an annotation does: the files on disk with their sizes and times.

    To find this out behind a URL would be expensive; there the path and the metadata stand for the annotation.
    """
    described = [volume.path, json.dumps(volume.attributes, sort_keys=True, default=str)]
    if is_remote(volume.path):
        return described
    files = sorted(_stat_of_files(volume.path)) if Path(volume.path).is_dir() else []
    return [*described, hashlib.sha256(json.dumps(files).encode()).hexdigest()]


def _stat_of_files(folder: str) -> list[tuple[str, int, int]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                found += _stat_of_files(entry.path)
            else:
                stat = entry.stat()
                found.append((entry.path, stat.st_size, stat.st_mtime_ns))
    return found
