"""Fetching what a plan says: restartable at any point, and nothing half-written in its final place."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from csc_data.errors import CscError, MissingDataError, Problem
from csc_data.fetching.plan import (
    CropPlan,
    FetchInterrupted,
    FetchOptions,
    FetchPlan,
    FetchProgress,
    FetchResult,
    FileGroup,
    Progress,
)
from csc_data.fetching.presence import is_present, md5_of, md5_of_etag
from csc_data.fetching.staging import DiskFullError, Staging, UnwritableFolderError, remove_stale
from csc_data.formats.writing import ensure_groups
from csc_data.storage.bucket import RemoteFile
from csc_data.storage.concurrency import map_unordered

_BLOCK = 4096  # what a file takes on most disks is a multiple of it
_RESERVE_BYTES = 50_000_000
_REPORT_SECONDS = 0.1

_WAVE_FILES = 5000
_FETCHED, _THERE, _ABSENT = 1, 0, -1

Item = tuple[FileGroup, RemoteFile]


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
        raise DiskFullError.before("what is to be fetched takes", needed, free, place)


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
    run = _Run(plan, options, stop, progress)
    started = time.monotonic()
    try:
        run.fetch()
        run.finish()
    except KeyboardInterrupt:
        stop.set()
        raise FetchInterrupted(run.result("interrupted", time.monotonic() - started)) from None
    finally:
        stop.set()
    return run.result(run.reason, time.monotonic() - started)


class _Run:
    """The state of one transfer; results are counted in the thread that called, files are written in others."""

    def __init__(
        self, plan: FetchPlan, options: FetchOptions, stop: threading.Event, progress: Progress | None
    ) -> None:
        self.plan, self.options, self.stop, self.progress = plan, options, stop, progress
        self.stagings: dict[Path, Staging] = {}
        self.state = FetchProgress(
            phase="fetching", done=0, total=plan.todo_files, done_bytes=0, total_bytes=plan.todo_bytes
        )
        self.reported = 0.0
        self.n_files = self.n_bytes = self.removed = 0
        self.failed: dict[str, Problem] = {}
        self.failures_in_a_row = 0
        self.absent: set[str] = set()
        self.failed_groups: set[int] = set()
        self.withheld: list[str] = []
        self.withheld_groups: set[int] = set()
        self.reason = ""

    def fetch(self) -> None:
        """Fetch all that is to do; stop where going on makes no sense."""
        with ExitStack() as stack:
            for group in self.plan.groups():
                remove_stale(self._top(group.folder))
            for group in self.plan.groups():
                if group.todo:
                    self._open_staging(group.folder, stack)
            for wave in _waves(self.plan.crops):
                # Labels become readable when all of their crop is there: what a stopped run leaves is no background.
                chunks = [item for crop in wave for item in _items(crop) if _is_chunk(item[1].name)]
                if not self._fetch_all(chunks):
                    return
                self._withhold(wave)
                metadata = [
                    (group, file)
                    for crop in wave
                    for group, file in _items(crop)
                    if not _is_chunk(file.name) and id(group) not in self.withheld_groups
                ]
                if not self._fetch_all(metadata):
                    return

    def _fetch_all(self, items: list[Item]) -> bool:
        """Fetch files; return whether to go on."""
        options = self.options
        results = map_unordered(
            self._fetch_one, items, workers=options.workers, stop=self.stop, batch_size=options.batch_size
        )
        for (group, file), outcome in results:
            self._count(group, file, outcome)
            if self.reason:
                self.stop.set()
                return False
        return True

    def _withhold(self, crops: Sequence[CropPlan]) -> None:
        """Keep the label arrays of crops that have failed files from becoming readable."""
        for crop in crops:
            if any(id(group) in self.failed_groups for group in crop.groups):
                self.withheld.append(crop.source.name)
                self.withheld_groups |= {id(group) for group in crop.groups if group.whole}

    def _open_staging(self, folder: Path, stack: ExitStack) -> None:
        top = self._top(folder)
        if top not in self.stagings:
            self.stagings[top] = stack.enter_context(Staging(top))
        self.stagings[folder] = self.stagings[top]

    def _top(self, folder: Path) -> Path:
        """Return where to stage: the first folder in the data folder, as data sets may be links to other disks."""
        root = self.plan.root
        return root / folder.relative_to(root).parts[0]

    def _fetch_one(self, item: Item) -> int | CscError:
        """Fetch one file; return what became of it, or what went wrong."""
        group, file = item
        path = group.path(file)
        try:
            body: memoryview | bytes | None = self.plan.contents.get(path)
            if body is None:
                # Another run may have brought it since the plan was made.
                if self.options.access_mode == "append" and is_present(path, file, checksums=self.options.checksums):
                    return _THERE
                body = group.bucket.read(group.key(file), check=lambda body: self._check(file, body))
            self.stagings[group.folder].place(Path(path), body)
        except MissingDataError as error:
            return _ABSENT if _is_chunk(file.name) else error
        except CscError as error:
            return error
        return _FETCHED

    def _check(self, file: RemoteFile, body: memoryview) -> None:
        """Raise what counts as a failed attempt, unless the bytes are those that were listed."""
        if len(body) != file.size:
            raise ConnectionError(f"{len(body)} bytes came where {file.size} were listed")
        expected = md5_of_etag(file.etag) if self.plan.md5_etags else ""
        if expected and md5_of(body) != expected:
            raise ConnectionError("the bytes that came do not have the MD5 sum that the bucket names")

    def _count(self, group: FileGroup, file: RemoteFile, outcome: int | CscError) -> None:
        """Note what became of a file, and why to stop."""
        if isinstance(outcome, CscError):
            self.failures_in_a_row += 1
            self.failed_groups.add(id(group))
            self.failed[group.path(file)] = Problem(where=group.key(file), what=str(outcome))
            if isinstance(outcome, DiskFullError | UnwritableFolderError):
                self.reason = str(outcome)
            elif self.failures_in_a_row > 2 * self.options.workers:
                self.reason = f"{self.failures_in_a_row} files in a row could not be had, the last one: {outcome}"
        else:
            self.failures_in_a_row = 0
            if outcome == _ABSENT:
                self.absent.add(group.path(file))
            elif outcome == _FETCHED:
                self.n_files += 1
                self.n_bytes += file.size
        self._report(file)

    def _report(self, file: RemoteFile) -> None:
        state = self.state
        self.state = replace(state, done=state.done + 1, done_bytes=state.done_bytes + file.size)
        now = time.monotonic()
        if self.progress and (now - self.reported > _REPORT_SECONDS or self.state.done == self.state.total):
            self.reported = now
            self.progress(self.state)

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
                if path in self.failed or path in self.absent or _has_size(path, file.size):
                    continue
                if id(group) not in self.withheld_groups or _is_chunk(file.name):
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
            absent=len(self.absent),
            removed=self.removed,
            failed=tuple(self.failed.values()),
            withheld=tuple(self.withheld),
            stopped=reason,
            seconds=seconds,
        )


def _waves(crops: Sequence[CropPlan]) -> Iterator[list[CropPlan]]:
    """Put crops together that are fetched at once, as small ones alone would leave workers idle."""
    wave: list[CropPlan] = []
    n_files = 0
    for crop in crops:
        wave.append(crop)
        n_files += crop.todo_files
        if n_files >= _WAVE_FILES:
            yield wave
            wave, n_files = [], 0
    if wave:
        yield wave


def _items(crop: CropPlan) -> Iterator[Item]:
    return ((group, file) for group in crop.groups for file in group.todo)


def _is_chunk(name: str) -> bool:
    return not name.rpartition("/")[2].startswith(".")


def _has_size(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size  # noqa: PTH116
    except OSError:
        return False
