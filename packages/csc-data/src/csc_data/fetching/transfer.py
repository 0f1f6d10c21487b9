"""Fetching what a plan says: restartable at any point, and nothing half-written in its final place."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from csc_data.arrays import ensure_groups
from csc_data.errors import CscError, MissingDataError, Problem
from csc_data.fetching.bucket import RemoteFile
from csc_data.fetching.concurrency import map_unordered
from csc_data.fetching.plan import FetchOptions, FetchPlan, FetchProgress, FileGroup, Progress
from csc_data.fetching.presence import is_present, md5_of, md5_of_etag
from csc_data.fetching.staging import DiskFullError, Staging, UnwritableFolderError

_BLOCK = 4096  # what a file takes on most disks is a multiple of it
_RESERVE_BYTES = 50_000_000
_REPORT_SECONDS = 0.1

Item = tuple[FileGroup, RemoteFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What a run did.

    Attributes
    ----------
    plan : FetchPlan
    fetched_files, fetched_bytes : int
        What came in this run.
    absent : int
        Chunks that the bucket listed and then did not have: they read as the fill value.
    removed : int
        Files that were there and not in the bucket, when overwriting.
    failed : tuple of Problem
        Files that could not be had, and why.
    stopped : str
        Why the run ended before its end; "" if it did not.
    seconds : float
        Time of the transfer.
    """

    plan: FetchPlan
    fetched_files: int
    fetched_bytes: int
    absent: int
    removed: int
    failed: tuple[Problem, ...]
    stopped: str
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return not (self.failed or self.stopped or self.plan.missing)


class FetchInterrupted(KeyboardInterrupt):
    """The user stopped a run (Ctrl-C); ``result`` tells what stands. Running again goes on from there."""

    def __init__(self, result: FetchResult) -> None:
        self.result = result
        super().__init__("interrupted")


def check_space(plan: FetchPlan) -> None:
    """Check that what is to be fetched fits on the disk.

    Raises
    ------
    DiskFullError
        With both sizes.
    """
    needed = 0
    for group in plan.groups():
        for file in group.todo:
            needed += -(-file.size // _BLOCK) * _BLOCK
            with contextlib.suppress(OSError):  # what it replaces
                needed -= os.stat(group.path(file)).st_size  # noqa: PTH116
    place = next(folder for folder in (plan.root, *plan.root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed + min(_RESERVE_BYTES, needed) > free:
        raise DiskFullError(
            f"{needed / 1e9:.2f} GB are to be fetched and {free / 1e9:.2f} GB are free at {place}; free some space, "
            "fetch less (--crops, --classes), or go elsewhere (--dest)"
        )


def run_plan(plan: FetchPlan, options: FetchOptions, stop: threading.Event, progress: Progress | None) -> FetchResult:
    """Fetch what is not there, then check that all is.

    Raises
    ------
    DiskFullError
        If it does not fit, before anything is fetched.
    UnwritableFolderError
        If the folder cannot be written to.
    FetchInterrupted
        If the user presses Ctrl-C.
    """
    check_space(plan)
    run = _Run(plan, options, stop)
    started = time.monotonic()
    try:
        run.fetch(progress)
        run.finish()
    except KeyboardInterrupt:
        stop.set()
        raise FetchInterrupted(run.result("interrupted", time.monotonic() - started)) from None
    finally:
        stop.set()
    return run.result(run.reason, time.monotonic() - started)


class _Run:
    """The state of one transfer; results are counted in the thread that called, files are written in others."""

    def __init__(self, plan: FetchPlan, options: FetchOptions, stop: threading.Event) -> None:
        self.plan, self.options, self.stop = plan, options, stop
        self.items = [(group, file) for group in plan.groups() for file in group.todo]
        self.stagings: dict[Path, Staging] = {}
        self.n_files = self.n_bytes = self.absent = self.removed = 0
        self.failed: dict[str, Problem] = {}
        self.absent_paths: set[str] = set()
        self.reason = ""

    def fetch(self, progress: Progress | None) -> None:
        """Fetch all that is to do; stop where going on makes no sense."""
        with ExitStack() as stack:
            for group, _ in self.items:
                if group.folder not in self.stagings:
                    self._open_staging(group.folder, stack)
            failures_in_a_row = 0
            for (group, file), outcome in self._outcomes(progress):
                if isinstance(outcome, CscError):
                    failures_in_a_row += 1
                    self.failed[group.path(file)] = Problem(where=group.key(file), what=str(outcome))
                    if isinstance(outcome, DiskFullError | UnwritableFolderError):
                        self.reason = str(outcome)
                    elif failures_in_a_row > 2 * self.options.workers:
                        self.reason = f"{failures_in_a_row} files in a row could not be had, the last one: {outcome}"
                    if self.reason:
                        self.stop.set()
                        return
                else:
                    failures_in_a_row = 0
                    self._count(group, file, outcome)

    def _outcomes(self, progress: Progress | None) -> Iterator[tuple[Item, int | CscError]]:
        total_bytes = sum(file.size for _, file in self.items)
        done_bytes, reported = 0, 0.0
        results = map_unordered(
            self._fetch_one,
            self.items,
            workers=self.options.workers,
            stop=self.stop,
            batch_size=self.options.batch_size,
        )
        for done, (item, outcome) in enumerate(results, start=1):
            yield item, outcome
            done_bytes += item[1].size
            now = time.monotonic()
            if progress and (now - reported > _REPORT_SECONDS or done == len(self.items)):
                reported = now
                progress(
                    FetchProgress(
                        phase="fetching",
                        done=done,
                        total=len(self.items),
                        done_bytes=done_bytes,
                        total_bytes=total_bytes,
                    )
                )

    def _open_staging(self, folder: Path, stack: ExitStack) -> None:
        """Stage below the first folder in the data folder: data sets may be links to other disks."""
        root = self.plan.root
        top = root / folder.relative_to(root).parts[0]
        if top not in self.stagings:
            self.stagings[top] = stack.enter_context(Staging(top))
        self.stagings[folder] = self.stagings[top]

    def _fetch_one(self, item: Item) -> int | CscError:
        """Fetch one file; return its size, -1 if the bucket does not have it, or what went wrong."""
        group, file = item
        path = group.path(file)
        try:
            body: memoryview | bytes | None = self.plan.contents.get(path)
            if body is None:
                # Another run may have brought it since the plan was made.
                if self.options.access_mode == "append" and is_present(path, file, checksums=self.options.checksums):
                    return 0
                body = group.bucket.read(group.key(file), check=lambda body: self._check(file, body))
            self.stagings[group.folder].place(Path(path), body)
        except MissingDataError as error:
            return -1 if _is_chunk(file.name) else error
        except CscError as error:
            return error
        return file.size

    def _check(self, file: RemoteFile, body: memoryview) -> None:
        """Raise what counts as a failed attempt, unless the bytes are those that were listed."""
        if len(body) != file.size:
            raise ConnectionError(f"{len(body)} bytes came where {file.size} were listed")
        expected = md5_of_etag(file.etag) if self.plan.md5_etags else ""
        if expected and md5_of(body) != expected:
            raise ConnectionError("the bytes that came do not have the MD5 sum that the bucket names")

    def _count(self, group: FileGroup, file: RemoteFile, outcome: int | CscError) -> None:
        if outcome == -1:
            self.absent_paths.add(group.path(file))
        else:
            self.n_files += 1
            self.n_bytes += file.size

    def finish(self) -> None:
        """Check what is there; remove what should not be, and add metadata of groups that the bucket lacks."""
        if self.reason:
            return
        for group in self.plan.groups():
            for path in group.stale:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108
                    self.removed += 1
            for file in group.files:
                path = group.path(file)
                if path not in self.failed and path not in self.absent_paths and not _has_size(path, file.size):
                    self.failed[path] = Problem(where=group.key(file), what=f"is not there as it should be: {path}")
        for folder in self.plan.nodes:
            if folder.is_dir():
                ensure_groups(folder if (folder / ".zgroup").exists() else folder.parent)

    def result(self, reason: str, seconds: float) -> FetchResult:
        """Return what stands."""
        return FetchResult(
            plan=self.plan,
            fetched_files=self.n_files,
            fetched_bytes=self.n_bytes,
            absent=len(self.absent_paths),
            removed=self.removed,
            failed=tuple(self.failed.values()),
            stopped=reason,
            seconds=seconds,
        )


def _is_chunk(name: str) -> bool:
    return not name.rpartition("/")[2].startswith(".")


def _has_size(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size  # noqa: PTH116
    except OSError:
        return False
