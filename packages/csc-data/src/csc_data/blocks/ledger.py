"""The record on disk of the blocks that are finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from csc_data.errors import ExistingOutputError, UnreadableDataError
from csc_data.storage.atomic import replace_text
from csc_data.storage.paths import is_remote

_READY = "ready"
_COMPLETE = "complete"
_FOLDER = ".runs"
FINISHED = ".done"
"""How the files end in which processes keep the numbers of what they finished, while work goes on."""

_READABLE = 40  # characters of a value, such as a size or a setting, but not a checksum


class Ledger:
    """A record on disk of the blocks that are finished.

    The first line of its file says what the work is (a fingerprint: whatever the result depends on). While work goes
    on, each process appends the numbers of its finished blocks to a file of its own in a folder beside it, line by
    line and flushed to the disk; a last line that was cut off by a kill is ignored. When all is finished the file
    takes in all numbers, its last line says so, and the folder goes.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    fingerprint : mapping
        JSON values. A record with another fingerprint is of other work and cannot be resumed.
    outputs : sequence of Path
        Folders that the work writes; what killed processes left there half written is removed.

    Attributes
    ----------
    finished : set of int
        The blocks that were recorded when it was last read, and those that this process finished since.
    ready, is_complete : bool
        Whether the output was created, and whether all of it was finished, when it was last read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder) / "work.ledger", {"shape": [8, 8, 8]})
    ...     print(ledger.read())
    ...     ledger.start()
    ...     ledger.set_ready()
    ...     ledger.finished |= {0, 1}
    ...     ledger.complete()
    ...     later = Ledger(ledger.path, {"shape": [8, 8, 8]})
    ...     print(later.read(), later.finished, later.is_complete)
    False
    True {0, 1} True
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any], outputs: Sequence[Path] = ()) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.outputs = tuple(outputs)
        self.finished: set[int] = set()
        self.ready = self.is_complete = False

    @property
    def folder(self) -> Path:
        """Where the processes that work on it keep their files."""
        return self.path.with_name(f"{self.path.name}{_FOLDER}")

    def read(self) -> bool:
        """Load what was recorded; return whether there was a record.

        Raises
        ------
        ExistingOutputError
            If the record is of other work; the text names what differs.
        UnreadableDataError
            If its first line is damaged.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return False
        self._check(lines[0])
        # What follows the last line break was cut off.
        self.finished = {int(line) for line in lines[1:-1] if line.isdigit()}
        self.is_complete = lines[-2:] == [_COMPLETE, ""]
        self.ready = self.is_complete or bool(self.finished) or _READY in lines
        for path in self.folder.glob(f"*{FINISHED}"):
            self.finished |= read_numbers(path)
        return True

    def _check(self, first: str) -> None:
        try:
            recorded = json.loads(first)
        except json.JSONDecodeError as error:
            raise UnreadableDataError(f"{self.path} is damaged: {error}; overwrite the output to start anew") from error
        if not isinstance(recorded, dict):
            raise UnreadableDataError(f"{self.path} is damaged: {first!r}; overwrite the output to start anew")
        if recorded != self.fingerprint:
            raise ExistingOutputError(
                f"{self.path.parent}: the output there was made otherwise "
                f"({'; '.join(_differences(recorded, self.fingerprint))}); overwrite it, or choose another place"
            )

    def start(self) -> None:
        """Begin an empty record."""
        self.finished = set()
        self.ready = self.is_complete = False
        for path in self.folder.glob(f"*{FINISHED}"):
            path.unlink()
        replace_text(self.path, json.dumps(self.fingerprint) + "\n")

    def set_ready(self) -> None:
        """Record that the output is created, so that it is not created again."""
        append_line(self.path, _READY)
        self.ready = True

    def complete(self) -> None:
        """Record that all blocks are finished, for `unfinished_work`."""
        numbers = [str(number) for number in sorted(self.finished)]
        # Written anew, not appended to: two processes may find at once that all is done.
        replace_text(self.path, "\n".join([json.dumps(self.fingerprint), *numbers, _COMPLETE, ""]))


def _differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """Say what two fingerprints differ in, with both values where they can be read."""
    for name in sorted({*recorded, *asked}):
        then, now = (_plain_value(each.get(name)) for each in (recorded, asked))
        if recorded.get(name) != asked.get(name):
            readable = max(len(then), len(now)) <= _READABLE
            yield f"{name} {then} then, {now} now" if readable else f"another {name}"


def _plain_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    return value if isinstance(value, str) else json.dumps(value)


def finished_file(folder: Path, name: str) -> Path:
    """Return where a process of a name records its finished blocks.

    Examples
    --------
    >>> from pathlib import Path
    >>> finished_file(Path("work"), "worker-1").name
    'worker-1.done'
    """
    return folder / f"{name}{FINISHED}"


def read_numbers(path: Path) -> set[int]:
    r"""Return the blocks that a process recorded.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "worker-1.done")
    ...     _ = file.write_text("4\n7\n1")
    ...     read_numbers(file)  # the last line was cut off
    {4, 7}
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:  # all is finished, and the folder was removed in between
        return set()
    return {int(line) for line in lines[:-1] if line.isdigit()}


def append_line(path: Path, line: str) -> None:
    r"""Append a line to a file that exists, and flush it to the disk.

    Raises
    ------
    FileNotFoundError
        If it does not exist any more.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "record")
    ...     _ = file.write_text("4\n7")
    ...     append_line(file, "8")
    ...     file.read_text()
    '4\n8\n'
    """
    with path.open("r+b") as file:
        _drop_cut_off_line(file)
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_off_line(file: BinaryIO) -> None:
    """Go to the end of the file and cut off a last line without a break: a "12" cut to "1" by a kill is not block 1."""
    end = file.seek(0, os.SEEK_END)
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        end -= 1
    file.truncate(end)
    file.seek(end)


def unfinished_work(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """Return the fingerprints of the work whose records in a folder, ``*.ledger``, are not complete.

    Ask this before reading output that is written block by block: an array that is half written looks like any other.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder) / ".mito.ledger", {"classes": ["mito"]})
    ...     ledger.start()
    ...     print(unfinished_work(folder))
    ...     ledger.complete()
    ...     print(unfinished_work(folder))
    ({'classes': ['mito']},)
    ()
    """
    fingerprints = []
    for path in sorted(Path(folder).glob("*.ledger")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[-2:] != [_COMPLETE, ""]:
            try:
                fingerprint = json.loads(lines[0])
            except json.JSONDecodeError:
                fingerprint = {}
            fingerprints.append(fingerprint if isinstance(fingerprint, dict) else {})
    return tuple(fingerprints)


def check_finished(*volumes: str | os.PathLike[str], class_name: str | None = None) -> None:
    """Check of volumes that are to be read that no run that writes them is unfinished; those at a URL are left out.

    Parameters
    ----------
    *volumes : path-like
    class_name : str, optional
        The class that they hold, where folders may not be named after it.

    Raises
    ------
    UnreadableDataError
        If one is half written: it looks like any other, with zeros in place of what is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Ledger(Path(folder) / ".mito.ledger", {"classes": ["mito"]}).start()
    ...     check_finished(Path(folder) / "er")
    ...     try:
    ...         check_finished(Path(folder) / "mito")
    ...     except UnreadableDataError as error:
    ...         print(str(error).partition("mito ")[2])
    is not finished; run `csc predict` again, or wait until it ends
    """
    names: dict[Path, list[str]] = {}
    for path in volumes:
        if not is_remote(path):
            names.setdefault(Path(path).parent, []).append(Path(path).name)
    for folder, wanted in names.items():
        for work in unfinished_work(folder):
            # A record that is damaged does not say what it is of: it may be any of them.
            written = {*work.get("classes", ()), *work.get("volumes", ())} or {*wanted}
            half = next((name for name in wanted if name in written or class_name in written), None)
            if half is not None:
                writer = "`csc predict`" if "classes" in work else "what writes it"
                raise UnreadableDataError(f"{folder / half} is not finished; run {writer} again, or wait until it ends")
