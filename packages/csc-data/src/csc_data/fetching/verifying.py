"""Comparing what was fetched with the digests that were kept beside it."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csc_data.challenge import label_classes
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError
from csc_data.fetching.digests import Digest, read_digests
from csc_data.fetching.plan import FetchProgress, Progress, ProgressMeter
from csc_data.fetching.planning.survey import files_in
from csc_data.fetching.sources import CropSource, known_crops, select_sources
from csc_data.storage.concurrency import map_unordered

_ANY = "\0"  # stands for any class in a path

State = Literal["whole", "damaged", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What became of the files that were fetched.

    Attributes
    ----------
    n_files, n_bytes : int
        Files that have a digest, and their size.
    damaged : tuple of Path
        Files with other bytes than came, or that cannot be read. They are dated back, so that the next fetch replaces
        them.
    missing : tuple of Path
        Files that are no longer there.
    unknown : tuple of Path
        Files without a digest: of the official tool, or of an older version of this one.
    """

    n_files: int
    n_bytes: int
    damaged: tuple[Path, ...]
    missing: tuple[Path, ...]
    unknown: tuple[Path, ...]

    @property
    def whole(self) -> bool:
        """Whether every file is what came."""
        return not (self.damaged or self.missing or self.unknown)


def verify_data(
    config: Config, *, crops: Sequence[str] = ("all",), workers: int = 8, progress: Progress | None = None
) -> VerifyResult:
    """Compare files of the data folder with the digests that fetching kept beside them.

    Parameters
    ----------
    config : Config
        Data folder and path templates.
    crops : sequence of str
        As in `FetchOptions`: with all, everything that was fetched is compared, else the labels of these crops, and the
        raw of their data sets.
    workers : int
        Most files that are read at a time.
    progress : callable, optional
        Called with a `FetchProgress`.

    Raises
    ------
    ProblemsError, UnknownCropError
        If there is no such crop.
    MissingDataError
        If nothing was fetched.
    """
    sources = select_sources(known_crops(config).crops, crops)
    folders = [config.path("raw", dataset=source.dataset) for source in sources]
    folders += [_labels(config, source, _ANY) for source in sources if source.test is None]
    folders = list(dict.fromkeys(folders))
    everything = tuple(crops) == ("all",)
    wanted = re.compile("|".join(re.escape(os.path.join(folder, "")).replace(_ANY, "[^/]+") for folder in folders))  # noqa: PTH118
    files: dict[str, Digest] = {}
    for top in sorted({folder.relative_to(config.root).parts[0] for folder in folders}):
        root = config.root / top
        for name, digest in read_digests(root).items():
            path = os.path.join(root, name)  # noqa: PTH118
            if everything or wanted.match(path):
                files[path] = digest
    unknown = sorted(path for folder in _existing(config, folders) for path in files_in(folder) if path not in files)
    if not files and not unknown:
        raise MissingDataError(f"nothing of that was fetched into {config.root}; `csc fetch-data` fetches it")
    states = _compare(files, workers, progress)
    damaged = sorted(path for path, state in states.items() if state == "damaged")
    for path in damaged:
        with contextlib.suppress(OSError):  # a disk for reading only: the copy is not where it is mended
            os.utime(path, (0, 0))
    return VerifyResult(
        n_files=len(files),
        n_bytes=sum(size for _, size in files.values()),
        damaged=tuple(map(Path, damaged)),
        missing=tuple(Path(path) for path in sorted(path for path, state in states.items() if state == "missing")),
        unknown=tuple(map(Path, unknown)),
    )


def _labels(config: Config, source: CropSource, class_name: str) -> Path:
    return config.path("labels", dataset=source.dataset, crop=source.name, class_name=class_name)


def _existing(config: Config, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders that are there; of those of labels, those of the challenge's classes: others are the user's."""
    for folder in folders:
        above, found, below = os.fspath(folder).partition(_ANY)
        if not found:
            yield folder
            continue
        for place in map(Path, glob.iglob(f"{glob.escape(above)}*{glob.escape(below)}")):  # noqa: PTH207 (not relative)
            values = config.placeholders("labels", place)
            if values and values["class_name"] in {*label_classes(), "all"}:
                yield place


def _compare(files: Mapping[str, Digest], workers: int, progress: Progress | None) -> dict[str, State]:
    """Read files and say what each is."""
    total_bytes = sum(size for _, size in files.values())
    start = FetchProgress(phase="verifying", done=0, total=len(files), total_bytes=total_bytes)
    meter, states = ProgressMeter(start, progress), {}
    results = map_unordered(
        lambda path: _state(path, files[path]), list(files), workers=workers, stop=threading.Event(), batch_size=64
    )
    for path, state in results:
        states[path] = state
        meter.add(files[path][1])
    return states


def _state(path: str, digest: Digest) -> State:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a million of them)
            body = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "damaged"
    return "whole" if (zlib.crc32(body), len(body)) == digest else "damaged"
