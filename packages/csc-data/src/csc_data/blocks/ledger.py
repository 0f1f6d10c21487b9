"""The record on disk of the blocks that are finished, and what becomes of output that is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Literal

from csc_data.errors import ExistingOutputError, UnreadableDataError
from csc_data.storage.atomic import replace_text

Existing = Literal["resume", "refuse", "overwrite"]
"""What to do with output that exists: continue it, leave it and stop, or start anew."""

_COMPLETE = "complete"


class Ledger:
    """A record on disk of the blocks that are finished.

    The first line says what the work is (a fingerprint: whatever the result depends on); each further line is the
    number of a finished block, and the last one says that none is left. Lines are appended and flushed to the disk one
    by one; a last line that was cut off by a kill is ignored.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    fingerprint : mapping
        JSON values. A record with another fingerprint is of other work and cannot be resumed.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.finished: set[int] = set()

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
        try:
            recorded = json.loads(lines[0])
        except json.JSONDecodeError as error:
            raise UnreadableDataError(f"{self.path} is damaged: {error}; overwrite the output to start anew") from error
        if not isinstance(recorded, dict):
            raise UnreadableDataError(f"{self.path} is damaged: {lines[0]!r}; overwrite the output to start anew")
        if recorded != self.fingerprint:
            names = sorted(
                name for name in {*recorded, *self.fingerprint} if recorded.get(name) != self.fingerprint.get(name)
            )
            raise ExistingOutputError(
                f"{self.path.parent}: the output there was made with another {', '.join(names)}; "
                "overwrite it, or choose another place"
            )
        # What follows the last line break was cut off.
        self.finished = {int(line) for line in lines[1:-1] if line.isdigit()}
        return True

    def start(self) -> None:
        """Begin an empty record."""
        self.finished = set()
        replace_text(self.path, json.dumps(self.fingerprint) + "\n")

    def mark(self, index: int) -> None:
        """Record a finished block."""
        self._append(str(index))
        self.finished.add(index)

    def complete(self) -> None:
        """Record that all blocks are finished, for `unfinished_work`."""
        self._append(_COMPLETE)

    def _append(self, line: str) -> None:
        with self.path.open("r+b") as file:
            _drop_cut_off_line(file)
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def unfinished_work(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """Return the fingerprints of the work whose records in a folder, ``*.ledger``, are not complete.

    Ask this before reading output that is written block by block: an array that is half written looks like any other.
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


def prepare_output(ledger: Ledger, existing: Existing) -> bool:
    """Decide what happens to output that exists; return whether it must be created anew.

    Raises
    ------
    ExistingOutputError
        If there is output and ``existing`` is ``"refuse"``, or it is of other work and ``existing`` is ``"resume"``.
    """
    if existing == "refuse" and ledger.path.exists():
        raise ExistingOutputError(f"{ledger.path.parent} holds output; resume or overwrite it, or choose another place")
    if existing == "overwrite":
        # The record is removed first: a kill before the new arrays exist must not leave old blocks marked as finished.
        ledger.path.unlink(missing_ok=True)
        return True
    return not ledger.read()
