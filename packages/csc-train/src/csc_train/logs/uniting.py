"""TensorBoard logs of several runs, brought together in one folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_train.logs.event_files import PREFIX, encode_event, event_files, read_records, second_in_name

UNITED = f"{PREFIX}0000000000.united"
"""Name of the one event file of each united run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitedRun:
    """A run in the new folder.

    Attributes
    ----------
    name : str
        Its folder within the new one, which is its name in TensorBoard.
    folders : tuple of Path
        Where it comes from.
    points : int
        How many points it has: numbers, pictures and all else that has a tag and a step.
    left_out : int
        How many do not count: it had them more than once, or after the step from which a later start went on.
    """

    name: str
    folders: tuple[Path, ...]
    points: int
    left_out: int


def unite_tensorboards(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    join: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[UnitedRun, ...]:
    """Write the TensorBoard logs of several runs into one folder; the runs' own stay as they are.

    Every folder with event files, among those given and within them, is a run. It becomes a folder in the new one, with
    one event file, in which points stand in the order of their steps, each once; it is called by its path below what
    all have in common. Where a run was stopped and started again, with the official toolbox for instance, what it
    logged after the step from which it went on is left out, as TensorBoard itself does.

    Parameters
    ----------
    folders : sequence of path
    out : path
        The new folder; what was united in it before is replaced.
    join : bool
        Whether all are parts of one run, which went on in another folder or on another machine. They become one, called
        as the first of them is.
    progress : callable, optional
        Takes how many of all runs are done.

    Raises
    ------
    MissingDataError
        If a folder is not there, or holds no event files.
    InvalidArgumentError
        If a folder lies in the new one.
    ExistingOutputError
        If a run's place in the new folder holds event files of somebody else.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_train.logs.event_files import EventWriter, scalar
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("one", "other"):
    ...         writer = EventWriter(Path(folder, name))
    ...         writer.write(1, [scalar("loss", 0.5)])
    ...         writer.close()
    ...     united = unite_tensorboards([f"{folder}/one", f"{folder}/other"], f"{folder}/all")
    >>> [(run.name, run.points) for run in united]
    [('one', 1), ('other', 1)]
    """
    target = Path(out).absolute()
    found = _find_runs([Path(folder).absolute() for folder in folders], target)
    parts = tuple(found.values())
    runs = {parts[0].name: parts} if join else {name: (folder,) for name, folder in found.items()}
    for name in runs:
        _check_place(target / name)
    united = []
    for number, (name, own) in enumerate(runs.items(), start=1):
        points, left_out = _unite(own, target / name)
        united.append(UnitedRun(name=name, folders=own, points=points, left_out=left_out))
        if progress is not None:
            progress(number, len(runs))
    return tuple(united)


def _find_runs(folders: Sequence[Path], out: Path) -> dict[str, Path]:
    """Return the folders that hold event files, by their names below what they have in common."""
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise MissingDataError(f"there is no folder {folder}")
        if out in (folder, *folder.parents):
            raise InvalidArgumentError(f"{folder} lies in {out}, to which united runs are to go; choose another place")
        holding = {file.parent for file in folder.rglob(f"{PREFIX}*") if file.is_file()}
        within = sorted(each for each in holding if out not in (each, *each.parents))
        if not within:
            raise MissingDataError(f"{folder} holds no TensorBoard logs (files {PREFIX}*)")
        found += within
    runs = list(dict.fromkeys(found))
    common = Path(os.path.commonpath([run.parent for run in runs]))
    return {run.relative_to(common).as_posix(): run for run in runs}


def _check_place(place: Path) -> None:
    others = [file for file in event_files(place) if file.name != UNITED]
    if others:
        raise ExistingOutputError(f"{place} holds other TensorBoard logs ({others[0].name}); choose another place")


@dataclass(slots=True)
class _Restarts:
    """Where the points of a run begin again with an earlier step, in the order in which they are stored."""

    last: dict[str, int] = field(default_factory=dict)
    of_tags: defaultdict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    of_all: list[tuple[int, int]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def note(self, position: int, event: Any) -> None:
        """Take in an event."""
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            self.of_all.append((position, event.step))
        for value in event.summary.value:
            if event.step <= self.last.get(value.tag, event.step - 1):
                self.of_tags[value.tag].append((position, event.step))
            self.last[value.tag] = event.step
            if value.HasField("metadata"):
                self.metadata.setdefault(value.tag, value.metadata)

    def keeps(self, position: int, step: int, tag: str) -> bool:
        """Tell whether nothing that is stored later begins again at this step or before."""
        later = (*self.of_tags.get(tag, ()), *self.of_all)
        return all(position >= begun or step < first for begun, first in later)


def _unite(folders: Sequence[Path], place: Path) -> tuple[int, int]:
    """Write the points of a run that count into a new file; return how many these are, and how many do not count."""
    files = sorted(
        (file for folder in folders for file in event_files(folder)), key=lambda file: (second_in_name(file), file.name)
    )
    restarts = _Restarts()
    for position, (_, event) in enumerate(_stored(files)):
        restarts.note(position, event)
    place.mkdir(parents=True, exist_ok=True)
    temporary = place / f"united.{os.getpid()}.part"
    kept = left_out = 0
    with temporary.open("wb") as stream:
        stream.write(encode_event(Event(file_version="brain.Event:2")))
        for position, (record, event) in enumerate(_stored(files)):
            if event.HasField("file_version") or event.HasField("session_log"):
                continue
            values = [value for value in event.summary.value if restarts.keeps(position, event.step, value.tag)]
            kept, left_out = kept + len(values), left_out + len(event.summary.value) - len(values)
            # Some writers describe a tag with its first point alone, and that may be left out.
            bare = [value for value in values if value.tag in restarts.metadata and not value.HasField("metadata")]
            for value in bare:
                value.metadata.CopyFrom(restarts.metadata[value.tag])
            if not bare and len(values) == len(event.summary.value):
                stream.write(record)
            elif values:
                del event.summary.value[:]
                event.summary.value.extend(values)
                stream.write(encode_event(event))
    temporary.replace(place / UNITED)
    return kept, left_out


def _stored(files: Sequence[Path]) -> Iterator[tuple[bytes, Any]]:
    for file in files:
        with file.open("rb") as stream:
            yield from read_records(stream, file)
