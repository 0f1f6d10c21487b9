"""What becomes of output that is there, and who creates it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from csc_data.blocks.claims import arrive
from csc_data.blocks.ledger import FINISHED, Ledger, finished_file
from csc_data.blocks.presence import Presence, ProcessId
from csc_data.errors import CscError, ExistingOutputError

Existing = Literal["resume", "refuse", "overwrite"]
"""What to do with output that exists: continue it, leave it and stop, or start anew."""

_PARTIAL = (".partial", ".part", ".__lock")  # what zarr, this package and tensorstore write to before they rename


def prepare_output(ledger: Ledger, existing: Existing, create: Callable[[], None]) -> bool:
    """Decide what happens to output that exists, and create it where it must be; return whether it was.

    Of several processes that start at the same time one creates it, the others wait for that.

    Parameters
    ----------
    ledger : Ledger
        The record; afterwards it has been read, so that `Ledger.finished` is what others finished.
    existing : {"resume", "refuse", "overwrite"}
        What to do with output that is there.
    create : callable
        Creates what the ledger names as its outputs, replacing what a killed process left of them.

    Raises
    ------
    ExistingOutputError
        If there is output and ``existing`` is ``"refuse"``, if it is of other work or of another program and
        ``existing`` is ``"resume"``, or if another process works on it and ``existing`` is ``"overwrite"``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = Path(folder) / "s0"
    ...     ledger = Ledger(Path(folder) / "s0.ledger", {"shape": [8, 8, 8]})
    ...     print(prepare_output(ledger, "resume", array.mkdir), array.is_dir())
    ...     print(prepare_output(ledger, "resume", array.mkdir))  # it is there, and is kept
    True True
    False
    """
    if existing == "refuse" and ledger.path.exists():
        raise ExistingOutputError(f"{ledger.path.parent} holds output; resume or overwrite it, or choose another place")
    with arrive(ledger.folder) as claims:
        try:
            return _prepare(ledger, existing, create, claims.presence)
        except CscError:
            _leave_no_trace(ledger, claims.presence)
            raise


def _prepare(ledger: Ledger, existing: Existing, create: Callable[[], None], presence: Presence) -> bool:
    if existing == "overwrite":
        _check_nobody_works(ledger, presence)
        # The record is removed first: a kill before the new arrays exist must not leave blocks marked as finished.
        ledger.path.unlink(missing_ok=True)
    elif not ledger.read():
        _check_nobody_elses(ledger)
    elif ledger.is_complete:
        remove_folder(ledger.folder, presence)  # which was made again to look
        return False
    elif ledger.ready:
        if presence.dead() and not _workers(ledger, presence):
            remove_partial_files(ledger.outputs)
        return False
    # The record comes first: after a kill, arrays without a record would look like those of another program.
    ledger.start()
    create()
    ledger.set_ready()
    return True


def _leave_no_trace(ledger: Ledger, presence: Presence) -> None:
    """Remove the folder that was made to look, unless somebody else is there, or has left what was finished."""
    if not presence.others() and not any(ledger.folder.glob(f"*{FINISHED}")):
        remove_folder(ledger.folder, presence)


def discard_record(ledger: Ledger) -> None:
    """Remove the record of an output that is to go, or to be recorded elsewhere.

    Raises
    ------
    ExistingOutputError
        If another process works on it.
    """
    with arrive(ledger.folder) as claims:
        _check_nobody_works(ledger, claims.presence)
        ledger.path.unlink(missing_ok=True)
        remove_folder(ledger.folder, claims.presence)


def remove_folder(folder: Path, presence: Presence) -> None:
    """Remove what only those needed who worked on an output; in this process's turn."""
    # Renamed first: who comes meanwhile finds either all of it or nothing.
    folder.rename(folder.with_name(f"{folder.name}-{presence.name}"))
    for leftover in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _workers(ledger: Ledger, presence: Presence) -> list[ProcessId | None]:
    """Return the others that work on blocks; who only waits for its turn has no record of its own yet."""
    others = presence.others().items()
    return [process for name, process in others if finished_file(ledger.folder, name).exists()]


def _check_nobody_works(ledger: Ledger, presence: Presence) -> None:
    for process in _workers(ledger, presence):
        raise ExistingOutputError(
            f"{ledger.path.parent}: {process or 'another process'} works on the output there; wait until it has ended, "
            "or end it, before you overwrite that"
        )


def _check_nobody_elses(ledger: Ledger) -> None:
    there = next((path for path in ledger.outputs if path.exists()), None)
    if there is not None:
        raise ExistingOutputError(f"{there} holds output of another program; overwrite it, or choose another place")


def remove_partial_files(folders: Iterable[Path]) -> None:
    """Remove what killed processes left half written; nobody may write there meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("0.0.0", "0.0.1.partial"):
    ...         Path(folder, name).touch()
    ...     remove_partial_files([Path(folder)])
    ...     [path.name for path in Path(folder).iterdir()]
    ['0.0.0']
    """
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                if name.endswith(_PARTIAL):
                    Path(place, name).unlink(missing_ok=True)
