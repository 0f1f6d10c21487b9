"""One process at a time makes a submission."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csc_data.blocks.claims import Claims
from csc_data.blocks.output import remove_folder
from csc_data.blocks.presence import Presence
from csc_data.errors import CscError

_CLAIM = "submission"


class AlreadyRunningError(CscError, RuntimeError):
    """Another process makes the submission."""


@contextmanager
def running_alone(folder: Path) -> Iterator[None]:
    """Make sure that no other process, here or on another machine, is at the same work; who was killed is not.

    Parameters
    ----------
    folder : Path
        Made for this, and removed in the end; the folder above it, too, if nothing else is in it.

    Raises
    ------
    AlreadyRunningError
        If another one is.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with running_alone(Path(folder, "submission.work", "running")):
    ...         print(Path(folder, "submission.work", "running").is_dir())
    ...     print(Path(folder, "submission.work").is_dir())
    True
    False
    """
    presence = _take(folder)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # somebody has removed all of it, which the work itself tells
            remove_folder(folder, presence)
        presence.leave()
        with suppress(OSError):
            folder.parent.rmdir()


def _take(folder: Path) -> Presence:
    while True:
        presence = Presence(folder)
        claims = Claims(presence)
        try:
            presence.start()
            if claims.take(_CLAIM):
                return presence
            holder = presence.find(claims.holder(_CLAIM) or "") or "another process"
        except FileNotFoundError:  # the other one ends at this moment, and has removed the folder
            presence.leave()
            continue
        except BaseException:
            presence.leave()
            raise
        presence.leave()
        raise AlreadyRunningError(
            f"{holder} makes this submission ({folder.parent}); wait until it has ended, or end it, and run this again"
        )
