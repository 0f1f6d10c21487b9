"""A folder in which submissions land: each is scored once, and its results lie beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

from csc_data.errors import CscError, MissingDataError
from csc_data.storage.atomic import replace_text
from csc_eval.batch.entries import BatchEntry, BatchOutcome, scored_outcome
from csc_eval.batch.scoring import BatchScoring, score_batch
from csc_eval.running.result_files import read_result

Stamp = tuple[int, int, int]
"""How many files a submission is, their bytes, and when the newest was changed (ns)."""


class Watch:
    """Finds submissions that are whole and have not been scored.

    A zip or a ``*.zarr`` folder counts as whole when it is the same at two looks. It has been scored when its results,
    or what kept it from having some, are younger than it: a watch that starts anew does nothing twice.

    Parameters
    ----------
    folder : path-like
        Its submissions are looked for directly in it; names that begin with a dot are left out.
    every : float
        Seconds between two looks.

    Raises
    ------
    MissingDataError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     watch = Watch(folder)
    ...     _ = Path(folder, "mine.zip").write_text("PK")
    ...     print([entry.evaluation_id for entry in watch.entries()])
    ...     print(len(watch.look()), len(watch.look()))  # it may still grow when it is seen first
    ...     print(list(watch.outcomes()))
    ['mine']
    0 1
    []
    """

    def __init__(self, folder: str | os.PathLike[str], every: float = 5.0) -> None:
        self.folder = Path(folder)
        self.every = every
        if not self.folder.is_dir():
            raise MissingDataError(f"there is no folder {self.folder}")
        self._seen: dict[Path, Stamp] = {}

    def entries(self) -> list[BatchEntry]:
        """Return all submissions, a zip rather than a folder of its name."""
        found: dict[str, Path] = {}
        for path in sorted(self.folder.iterdir(), key=lambda path: (path.suffix != ".zip", path.name)):
            zipped, whole = path.suffix == ".zip" and path.is_file(), path.suffix == ".zarr" and path.is_dir()
            if (zipped or whole) and not path.name.startswith("."):
                found.setdefault(path.stem, path)
        return [BatchEntry(data_path=path, evaluation_id=name) for name, path in sorted(found.items())]

    def look(self) -> list[BatchEntry]:
        """Return the submissions that are to be scored now."""
        ready = []
        stamps = {}
        for entry in self.entries():
            try:
                stamp = stamp_of(entry.data_path)
            except OSError:  # it is being moved, or removed
                continue
            stamps[entry.data_path] = stamp
            if self._seen.get(entry.data_path) == stamp and not _is_done(entry, stamp):
                ready.append(entry)
        self._seen = stamps
        return ready

    def outcomes(self) -> Iterator[BatchOutcome]:
        """Yield what became of all submissions that have been looked at, from their files."""
        for entry in self.entries():
            if entry.extended_file.is_file():
                try:
                    result = read_result(entry.extended_file)
                except CscError as error:
                    yield BatchOutcome(entry=entry, result=None, problem=str(error))
                    continue
                yield scored_outcome(entry, result)
            elif entry.failure_file.is_file():
                yield BatchOutcome(entry=entry, result=None, problem=entry.failure_file.read_text("utf-8").strip())


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a submission does.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.zip").write_text("PK")
    ...     stamp_of(Path(folder, "mine.zip"))[:2]  # files and bytes
    (1, 2)
    """
    files = [path] if path.is_file() else [Path(place, name) for place, _, names in os.walk(path) for name in names]
    found = [file.lstat() for file in files]
    # What is copied with its old time of change is new here all the same.
    newest = max(max(each.st_mtime_ns, each.st_ctime_ns) for each in (path.lstat(), *found))
    return len(found), sum(each.st_size for each in found), newest


def _is_done(entry: BatchEntry, stamp: Stamp) -> bool:
    files = (entry.result_file, entry.failure_file)
    return any(file.is_file() and file.stat().st_mtime_ns > stamp[2] for file in files)


def _keep_failure(outcome: BatchOutcome) -> None:
    if outcome.result is None:
        replace_text(outcome.entry.failure_file, outcome.problem + "\n")
    else:
        outcome.entry.failure_file.unlink(missing_ok=True)


def keep_watching(
    watch: Watch,
    how: BatchScoring,
    executor: Callable[[], Executor],
    *,
    stop: threading.Event,
    report: Callable[[list[BatchOutcome]], None] | None = None,
) -> None:
    """Score what lands in a folder until told to stop.

    Parameters
    ----------
    watch : Watch
    how : BatchScoring
    executor : callable
        Makes one for each round: between two of them no process waits.
    stop : threading.Event
        Ends it, once what is being scored is done.
    report : callable, optional
        Called with what was scored, after each round.
    """
    while not stop.is_set():
        ready = watch.look()
        if ready:
            with executor() as running:
                done = score_batch(ready, how, executor=running, report=_keep_failure)
            if report is not None:
                report(done)
        stop.wait(watch.every)
