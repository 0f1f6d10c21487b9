"""The organisers' zips of everything: fetched by ranges, side by side, and gone on with after a kill.

An archive grows as ``NAME.zip.part``; beside it ``NAME.zip.part.ledger`` names the parts that are on disk. Only when
all of them are does it get its name.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csc_data.challenge import get_storage
from csc_data.challenge.annotated_crops import split_url
from csc_data.challenge.current_lists import load_zip_places
from csc_data.config.user_config import Config
from csc_data.errors import CscError, InvalidArgumentError
from csc_data.fetching.archives.unpacking import UnpackResult, unpack
from csc_data.fetching.plan import FetchOptions, FetchProgress, Progress
from csc_data.fetching.staging import FETCH_LESS, UnwritableFolderError, explain_os_error, take_lock
from csc_data.storage.bucket import Bucket, FetchStopped
from csc_data.storage.concurrency import Pool, map_unordered
from csc_data.storage.room import check_room

PART_BYTES = 16 * 2**20
_DEFAULTS = Config()


class BusyArchiveError(CscError, BlockingIOError):
    """Another run fetches the same archive to the same place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlan:
    """An archive in the bucket, and where it goes.

    Attributes
    ----------
    bucket : Bucket
    key : str
    n_bytes : int
        Its size.
    etag : str
    path : Path
        Where it goes.
    there_bytes : int
        How much of it is there already.
    """

    bucket: Bucket
    key: str
    n_bytes: int
    etag: str
    path: Path
    there_bytes: int

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.bucket.url(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveResult:
    """What was done: the plan, bytes that came in this run, what was unpacked, whether the archive was removed."""

    plan: ArchivePlan
    fetched_bytes: int
    unpacked: UnpackResult
    removed: bool


def plan_archive(config: Config, options: FetchOptions) -> ArchivePlan:
    """Find the archive that holds what the options ask for.

    Raises
    ------
    InvalidArgumentError
        If there is none: archives hold all crops, with a padding of 0 or 128 voxels.
    MissingDataError
        If it is not in the bucket.
    """
    if tuple(options.crops) != ("all",) or options.datasets is not None or options.classes is not None:
        raise InvalidArgumentError("an archive holds everything; leave out --crops, --datasets, --classes, or --zip")
    if (config.raw, config.labels) != (_DEFAULTS.raw, _DEFAULTS.labels):
        raise InvalidArgumentError("archives have the bucket's layout, your path templates another; leave out --zip")
    if options.raw_reach is not None:
        raise InvalidArgumentError(
            "an archive has a fixed padding, in voxels; give a number of them, or leave out --zip"
        )
    places = load_zip_places()
    wanted = (options.all_resolutions, options.raw_padding)
    place = next((place for place in places if (place.all_resolutions, place.padding) == wanted), None)
    if place is None:
        paddings = ", ".join(sorted({str(p.padding) for p in places if p.all_resolutions == wanted[0]}, key=int))
        raise InvalidArgumentError(
            f"there is no archive with a padding of {options.raw_padding} voxels (there are {paddings or 'none'}); "
            "leave out --zip"
        )
    bucket_name, key = split_url(place.url)
    if config.bucket not in {"", get_storage()["bucket"]}:
        bucket_name = config.bucket
    bucket = Bucket(bucket_name, endpoint=config.endpoint, retries=options.retries)
    found = bucket.head(key)
    path = config.root / key.rpartition("/")[2]
    if path.is_file() and path.stat().st_size == found.size:
        there = found.size
    else:
        there = _Ledger(path, key, found.size, found.etag).there_bytes()
    return ArchivePlan(bucket=bucket, key=key, n_bytes=found.size, etag=found.etag, path=path, there_bytes=there)


def fetch_archive(
    config: Config,
    options: FetchOptions,
    *,
    plan: ArchivePlan | None = None,
    remove: bool = False,
    progress: Progress | None = None,
) -> ArchiveResult:
    """Fetch an archive of the organisers and unpack it into the data folder.

    Parameters
    ----------
    config : Config
    options : FetchOptions
        Padding and resolutions choose the archive; with ``access_mode="overwrite"`` files that are there and newer are
        replaced, too.
    plan : ArchivePlan, optional
        What `plan_archive` returned for the same.
    remove : bool
        Whether to delete the archive when all of it is unpacked.
    progress : callable, optional
        Called with a `FetchProgress`.

    Raises
    ------
    DiskFullError
        If archive and content do not both fit.
    BusyArchiveError
        If another run is at it.
    UnsafeArchiveError
        If it holds what must not be unpacked; see `csc_data.fetching.archives.unpacking`.
    UnreadableDataError
        If it is damaged, or cannot be had. Running again goes on where this run stopped.
    """
    plan = plan or plan_archive(config, options)
    stop = threading.Event()
    plan.bucket.stop = stop
    try:
        config.root.mkdir(parents=True, exist_ok=True)
        fetched = _download(plan, options.workers, stop, progress)
        unpacked = unpack(
            plan.path,
            config.root,
            overwrite=options.access_mode == "overwrite",
            pool=Pool(min(options.workers, 4), stop),
            progress=progress,
        )
        if remove:
            plan.path.unlink()
    except OSError as error:
        if isinstance(error, CscError):
            raise
        raise explain_os_error(error, config.root) from error
    finally:
        stop.set()
    return ArchiveResult(plan=plan, fetched_bytes=fetched, unpacked=unpacked, removed=remove)


def _download(plan: ArchivePlan, workers: int, stop: threading.Event, progress: Progress | None) -> int:
    """Fetch the parts that are not there; return how many bytes came."""
    if plan.path.is_file() and plan.path.stat().st_size == plan.n_bytes:
        return 0
    ledger = _Ledger(plan.path, plan.key, plan.n_bytes, plan.etag)
    with ledger.hold() as parts:
        done = sum(ledger.size(part) for part in parts)
        left = plan.n_bytes - done
        what = f"{plan.url}, and what is in it, take about"
        check_room(what, left + plan.n_bytes, plan.path.parent, FETCH_LESS)
        missing = [part for part in range(ledger.n_parts) if part not in parts]
        with ledger.part_file.open("r+b") as file:

            def fetch(part: int) -> None:
                begin = part * PART_BYTES
                body = plan.bucket.read_range(plan.key, begin, begin + ledger.size(part), etag=plan.etag)
                ledger.write(file.fileno(), part, body)

            # Parts are large: a few at a time fill any line, and what a kill loses stays small.
            for part, _ in map_unordered(fetch, missing, workers=min(workers, 16), stop=stop):
                done += ledger.size(part)
                if progress:
                    progress(
                        FetchProgress(phase="fetching", done=0, total=1, done_bytes=done, total_bytes=plan.n_bytes)
                    )
        if done != plan.n_bytes:
            raise FetchStopped("stopped")
        ledger.finish()
    return left


class _Ledger:
    """Which parts of an archive are on disk; see the module."""

    def __init__(self, path: Path, key: str, n_bytes: int, etag: str) -> None:
        self.path = path
        self.part_file = path.with_name(f"{path.name}.part")
        self.file = path.with_name(f"{path.name}.part.ledger")
        self.n_bytes = n_bytes
        self.n_parts = -(-n_bytes // PART_BYTES)
        self._header = json.dumps({"key": key, "bytes": n_bytes, "etag": etag, "part_bytes": PART_BYTES})
        self._lock = threading.Lock()

    def size(self, part: int) -> int:
        """Return the bytes of a part; the last one is smaller."""
        return min(PART_BYTES, self.n_bytes - part * PART_BYTES)

    def there_bytes(self) -> int:
        """Return how much is there already, in parts that are whole."""
        return sum(self.size(part) for part in self._read())

    def _read(self) -> set[int]:
        try:
            # What follows the last line break was cut off by a kill.
            header, *lines = self.file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        except (OSError, ValueError):
            return set()
        if header != self._header or not self.part_file.is_file() or self.part_file.stat().st_size != self.n_bytes:
            return set()
        return {int(line) for line in lines if line.isdigit() and int(line) < self.n_parts}

    @contextmanager
    def hold(self) -> Iterator[set[int]]:
        """Lock the ledger, make it ready, and yield the parts that are there."""
        try:
            with self.file.open("a+b") as lock:
                if not take_lock(lock, otherwise=True):
                    raise BusyArchiveError(f"another run is fetching {self.path}; wait for it")
                parts = self._read()
                # Written anew: without what a kill cut off, and with the header of this object.
                lock.truncate(0)
                lock.write("".join(f"{line}\n" for line in (self._header, *sorted(parts))).encode())
                lock.flush()
                with self.part_file.open("a+b") as file:
                    file.truncate(self.n_bytes)
                yield parts
        except PermissionError as error:
            raise UnwritableFolderError(f"{self.file} cannot be written: {error.strerror}") from error

    def write(self, descriptor: int, part: int, body: memoryview) -> None:
        """Write a part, and only then its line."""
        with self._lock:
            _write_at(descriptor, part * PART_BYTES, body)
        os.fsync(descriptor)
        with self._lock, self.file.open("ab") as file:
            file.write(f"{part}\n".encode())

    def finish(self) -> None:
        """Give the archive its name."""
        self.part_file.replace(self.path)
        self.file.unlink()


def _write_at(descriptor: int, begin: int, body: Any) -> None:
    os.lseek(descriptor, begin, os.SEEK_SET)
    while body:
        body = body[os.write(descriptor, body) :]
