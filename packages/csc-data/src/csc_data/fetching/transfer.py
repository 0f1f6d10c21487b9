"""Fetching what a plan says, while it is still being made: restartable at any point, and whole files only."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from csc_data.errors import CscError, Problem, UnreadableDataError
from csc_data.fetching.disk_space import DiskSpace
from csc_data.fetching.plan import (
    CropPlan,
    FetchOptions,
    FetchPlan,
    FetchProgress,
    FetchResult,
    FileGroup,
    Progress,
    ProgressMeter,
)
from csc_data.fetching.planning.survey import is_present, md5_of, md5_of_etag
from csc_data.fetching.staging import Staging, UnwritableFolderError, remove_stale
from csc_data.storage.bucket import RemoteFile
from csc_data.storage.concurrency import Pool, Stream
from csc_data.storage.room import DiskFullError

_AHEAD = 8
"""Files a worker that are begun ahead of the plan: enough to keep workers busy, and few enough that crops are fetched
one after the other when all is listed."""

_GROUP = (".zgroup", "zarr.json")

Item = tuple[FileGroup, RemoteFile]


class Transfer:
    """The state of one transfer; results are counted in the thread that called, files are written in others."""

    def __init__(self, root: Path, options: FetchOptions, pool: Pool, progress: Progress | None) -> None:
        self.root, self.options, self.pool, self.progress = root, options, pool, progress
        self.has_md5_etags: Callable[[], bool] = lambda: False
        self.contents: dict[str, bytes] = {}
        self.space = DiskSpace(root)
        self.stream: Stream[Item, CscError | bool] = Stream(pool, self._fetch_one, batch_size=options.batch_size)
        self.stagings: dict[Path, Staging] = {}
        self.stack = ExitStack()
        self.early: deque[FileGroup] = deque()
        self.left: dict[int, int] = {}  # chunks that a group still waits for
        self.chunks: dict[int, deque[RemoteFile]] = {}  # those of a group that no worker was given yet
        self.failed: dict[str, Problem] = {}
        self.failed_groups: set[int] = set()
        self.failed_raw: list[Item] = []
        self.failures_in_a_row = 0
        self.withheld: list[str] = []
        self.withheld_groups: set[int] = set()
        self.stopped_by: CscError | None = None
        self.n_files = self.n_bytes = self.removed = 0
        self.meter = ProgressMeter(FetchProgress(phase="fetching", done=0, total=0), None)
        self.started = time.monotonic()

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def reason(self) -> str:
        """Why the run ended before its end; "" if it did not."""
        return str(self.stopped_by or "")

    def listed(self, group: FileGroup) -> None:
        """Take a group of the plan that is being made."""
        self._add_space(group)
        self.early.append(group)
        self._begin_early()

    def _add_space(self, group: FileGroup) -> None:
        for file in group.todo:
            self.space.add(group.path(file), file.size)

    def bounded(self, most_bytes: int) -> None:
        """Begin if all fits, given the most that what is not listed yet can take."""
        self.space.bound(most_bytes)
        self._begin_early()

    def _begin_early(self) -> None:
        for item, outcome in self.stream.ready():
            self._count(*item, outcome)
        ahead = _AHEAD * self.options.workers
        while self.space.enough and self.early and self.stream.waiting < ahead and not self.stopped_by:
            if self._begin(self.early[0], ahead) == 0:
                self.early.popleft()

    def _begin(self, group: FileGroup, most: int | None = None) -> int:
        """Give chunks of a group to the workers; return how many."""
        if id(group) not in self.chunks:
            self.chunks[id(group)] = deque(file for file in group.todo if _is_chunk(file.name))
            self.left[id(group)] = len(self.chunks[id(group)])
        chunks = self.chunks[id(group)]
        count = len(chunks) if most is None else min(most, len(chunks))
        self._give((group, chunks.popleft()) for _ in range(count))
        return count

    def _give(self, items: Iterable[Item], *, urgent: bool = False) -> None:
        given = list(items)
        for folder in {group.folder for group, _ in given}:
            self._open_staging(folder)
        self.stream.put(given, urgent=urgent)

    def run(self, plan: FetchPlan) -> None:
        """Fetch what is not there, crop by crop, then check that all is.

        Raises
        ------
        DiskFullError
            If it does not fit and nothing was begun.
        """
        if not self.chunks:
            self.space = DiskSpace(self.root)
            for group in plan.groups():
                self._add_space(group)
            self.space.check()
        self.contents, self.has_md5_etags = plan.contents, lambda: plan.md5_etags
        state = replace(self.meter.state, total=plan.todo_files, total_bytes=plan.todo_bytes, plan=plan)
        self.meter = ProgressMeter(state, self.progress)
        self.meter.add(0, files=0)
        for group in plan.groups():
            self._begin(group)
        waiting = deque(plan.crops)
        self._complete(waiting)
        for (group, file), outcome in self.stream:
            self._count(group, file, outcome)
            if self.stopped_by:
                break
            if waiting and not self.left[id(group)]:
                self._complete(waiting)
        if not self.stopped_by:
            self._finish(plan)

    def _complete(self, waiting: deque[CropPlan]) -> None:
        """Fetch metadata of crops whose chunks are there: what a stopped run leaves does not read as background.

        One after the other, as a crop needs chunks of raw that came with those before it.
        """
        while waiting and not any(self.left[id(group)] for group in waiting[0].groups):
            crop = waiting.popleft()
            if self._lacks(crop):
                self.withheld.append(crop.source.name)
                self.withheld_groups |= {id(group) for group in crop.groups if group.whole}
            items = (
                (group, file)
                for group in crop.groups
                if id(group) not in self.withheld_groups
                for file in group.todo
                if not _is_chunk(file.name)
            )
            self._give(items, urgent=True)

    def _lacks(self, crop: CropPlan) -> bool:
        """Tell whether a file of a crop failed, also a chunk of raw that came with another crop."""
        if any(id(group) in self.failed_groups for group in crop.groups):
            return True
        place = crop.source.bucket, crop.source.raw
        return any(
            (group.bucket.name, group.prefix) == place and crop.shows(file.name) for group, file in self.failed_raw
        )

    def _open_staging(self, folder: Path) -> None:
        """Open the staging folder for a folder: in the first one below the root, as data sets may be links."""
        if folder in self.stagings:
            return
        top = self.root / folder.relative_to(self.root).parts[0]
        if top not in self.stagings:
            self.stagings[top] = self.stack.enter_context(Staging(top))
        self.stagings[folder] = self.stagings[top]

    def _fetch_one(self, item: Item) -> CscError | bool:
        """Fetch one file; return whether it came, or what went wrong."""
        group, file = item
        path = group.path(file)
        try:
            body: memoryview | bytes | None = self.contents.get(path)
            if body is None:
                # Another run may have brought it since the plan was made.
                if self.options.access_mode == "append" and not self.options.checksums and is_present(path, file):
                    return False
                body = group.bucket.read(group.key(file), check=lambda body: self._check(file, body), listed=True)
            self.stagings[group.folder].place(path, body)
        except CscError as error:
            return error
        return True

    def _check(self, file: RemoteFile, body: memoryview) -> None:
        """Raise what counts as a failed attempt, unless the bytes are those that were listed."""
        if len(body) != file.size:
            raise ConnectionError(f"{len(body)} bytes came where {file.size} were listed")
        expected = md5_of_etag(file.etag) if self.has_md5_etags() else ""
        if expected and md5_of(body) != expected:
            raise ConnectionError("the bytes that came do not have the MD5 sum that the bucket names")

    def _count(self, group: FileGroup, file: RemoteFile, outcome: CscError | bool) -> None:
        """Note what became of a file, and why to stop."""
        if _is_chunk(file.name):
            self.left[id(group)] -= 1
        if isinstance(outcome, CscError):
            self.failures_in_a_row += 1
            self.failed_groups.add(id(group))
            if not group.whole:
                self.failed_raw.append((group, file))
            self.failed[group.path(file)] = Problem(where=group.key(file), what=str(outcome))
            if isinstance(outcome, DiskFullError | UnwritableFolderError):
                self._stop(outcome)
            elif self.failures_in_a_row > 2 * self.options.workers:
                what = f"{self.failures_in_a_row} files in a row could not be had, the last one: {outcome}"
                self._stop(UnreadableDataError(what))
        else:
            self.failures_in_a_row = 0
            self.n_files += outcome
            self.n_bytes += file.size if outcome else 0
        self.meter.add(file.size)

    def _stop(self, error: CscError) -> None:
        self.stopped_by = error
        self.pool.stop.set()

    def _finish(self, plan: FetchPlan) -> None:
        """Check what is there; remove what should not be, and add metadata of groups that the bucket lacks."""
        folders, todo_files = {group.folder for group in plan.groups()}, plan.todo_files
        for top in {self.root / folder.relative_to(self.root).parts[0] for folder in folders} - self.stagings.keys():
            remove_stale(top)
        for group in plan.groups():
            if group.stale or group.checked:
                self._open_staging(group.folder)
            for path in group.stale:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108
                    self.removed += 1
                self.stagings[group.folder].digests.forget(path)
            for path, size, crc in group.checked:
                self.stagings[group.folder].digests.add(path, size, crc)
            # What there was to fetch may have taken hours; without that, all was looked at just now.
            for file in group.files if todo_files else ():
                path = group.path(file)
                if path in self.failed or _has_size(path, file.size):
                    continue
                if id(group) not in self.withheld_groups or _is_chunk(file.name):
                    self.failed[path] = Problem(where=group.key(file), what=f"is not there as it should be: {path}")
        _complete_groups(folders)

    def result(self, plan: FetchPlan, reason: str) -> FetchResult:
        """Return what stands."""
        return FetchResult(
            plan=plan,
            fetched_files=self.n_files,
            fetched_bytes=self.n_bytes,
            removed=self.removed,
            failed=tuple(self.failed.values()),
            withheld=tuple(self.withheld),
            stopped=reason,
            seconds=time.monotonic() - self.started,
        )


def _complete_groups(folders: Iterable[Path]) -> None:
    """Write metadata of the groups above folders where the bucket has none."""
    for above in sorted({folder.parent for folder in folders if folder.suffix != ".zarr"}):
        chain = (above, *above.parents)
        end = next((n for n, place in enumerate(chain) if place.suffix == ".zarr"), 0)
        known = all(any((place / name).exists() for name in _GROUP) for place in chain[: end + 1])
        if above.is_dir() and not known:
            from csc_data.formats.writing import ensure_groups  # imports zarr, which takes a second

            ensure_groups(above)


def _is_chunk(name: str) -> bool:
    return not name.rpartition("/")[2].startswith(".")


def _has_size(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size  # noqa: PTH116
    except OSError:
        return False
