"""Whether a disk has room for what is to be written, before the first byte is."""

from __future__ import annotations

import shutil
from pathlib import Path

from csc_data.errors import CscError
from csc_data.wording import format_bytes


class DiskFullError(CscError, OSError):
    """No space, or no quota, is left where files are to go."""

    @classmethod
    def before(cls, what: str, needed: int, place: Path, remedy: str) -> DiskFullError:
        """Return the error for what would not fit, with both sizes.

        Parameters
        ----------
        what : str
            What needs the room, with its verb, plural or not: ``what is to be fetched takes``.
        needed : int
            Bytes.
        place : Path
            A folder on the disk, which need not exist.
        remedy : str
            What helps beside free space.
        """
        free = format_bytes(free_bytes(place))
        return cls(f"{what} {format_bytes(needed)} and {free} are free at {place}; free some space, {remedy}")


def free_bytes(place: Path) -> int:
    """Return the bytes that are free on the disk of a folder, which need not exist yet."""
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def check_room(what: str, needed: int, place: Path, remedy: str) -> None:
    """Check that a disk has room, with the parameters of `DiskFullError.before`.

    Raises
    ------
    DiskFullError
        If it has not.
    """
    if needed > free_bytes(place):
        raise DiskFullError.before(what, needed, place, remedy)
