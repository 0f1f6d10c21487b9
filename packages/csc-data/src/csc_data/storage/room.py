"""Whether a disk has room for what is to be written, before the first byte is, and what is said where it had not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csc_data.errors import CscError, InvalidArgumentError
from csc_data.wording import format_bytes

_FULL = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "a file has become larger than the system lets it (see ulimit -f)",
}


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
    """Return the bytes that are free on the disk of a folder, which need not exist yet.

    Examples
    --------
    >>> from pathlib import Path
    >>> free_bytes(Path("a folder", "that is not there yet")) > 0
    True
    """
    return shutil.disk_usage(_nearest(place)).free


def check_writable(place: Path) -> None:
    """Check that files can be made in a folder, which need not exist yet.

    Raises
    ------
    InvalidArgumentError
        If it, or what it would lie in, is a file, or must not be written to.
    """
    there = _nearest(place)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "must not be written to" if there.is_dir() else "is a file"
        raise InvalidArgumentError(f"nothing can be written to {place}: {there} {why}; choose another place")


def _nearest(place: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def check_room(what: str, needed: int, place: Path, remedy: str) -> None:
    """Check that a disk has room, with the parameters of `DiskFullError.before`.

    Raises
    ------
    DiskFullError
        If it has not.
    """
    if needed > free_bytes(place):
        raise DiskFullError.before(what, needed, place, remedy)


def is_full_disk(error: OSError) -> bool:
    """Return whether an error of the system says that a disk is full.

    Examples
    --------
    >>> import errno
    >>> is_full_disk(OSError(errno.ENOSPC, "No space left on device")), is_full_disk(PermissionError())
    (True, False)
    """
    return error.errno in _FULL


@contextmanager
def full_disk_told(place: Path | None = None) -> Iterator[None]:
    """Say in one line what happened and what to do where writing ends as the disk is full; also a decorator.

    Parameters
    ----------
    place : Path, optional
        Where is written.

    Raises
    ------
    DiskFullError
        Instead of an error that a full disk has led to: zarr makes a KeyError of what the system said.

    Examples
    --------
    >>> import errno
    >>> try:
    ...     with full_disk_told():
    ...         raise OSError(errno.ENOSPC, "No space left on device", "s0/0.0.0")
    ... except DiskFullError as error:
    ...     print(str(error).partition(";")[0])
    no space is left on the disk of s0/0.0.0
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        found = _full_disk_behind(error)
        if isinstance(found, DiskFullError):
            raise DiskFullError(*found.args) from error
        if found is None:
            raise
        where = found.filename or place
        at = f" of {where}" if where is not None else ""
        raise DiskFullError(
            f"{_FULL[found.errno or 0]}{at}; free some space and run the same again, it goes on where it stopped"
        ) from error


def _full_disk_behind(error: BaseException | None) -> OSError | None:
    """Return the error of a full disk that led to another one, if any."""
    while error is not None:
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and is_full_disk(error)):
            return error
        error = error.__cause__ or error.__context__
    return None
