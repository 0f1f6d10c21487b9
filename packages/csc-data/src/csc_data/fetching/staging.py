"""Files that appear whole or not at all, and what killed runs leave behind.

A file is written in a hidden folder of the run, ``.csc-fetch/run-*`` in the folder that everything goes to, and renamed
to its place. Each run holds a lock on its folder, which ends with the process however that ends; a later run removes
the folders that nobody holds.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from csc_data.errors import CscError, UnreadableDataError
from csc_data.fetching.digests import DigestFile
from csc_data.storage.bucket import FetchStopped
from csc_data.storage.room import DiskFullError, is_full_disk

FOLDER = ".csc-fetch"
_LOCK = "lock"
_TRIES = 20
_CLOSING_SECONDS = 10
FETCH_LESS = "fetch less (--crops, --classes), or go elsewhere (--dest)"
"""What helps where the disk is too small."""
_OLD_SECONDS = 7 * 24 * 3600  # where locks do not work, what is older than this is nobody's


class UnwritableFolderError(CscError, PermissionError):
    """A folder cannot be written to."""


class Staging:
    """A folder for unfinished files next to their places; a context that removes it.

    Parameters
    ----------
    root : Path
        On the same file system as the places; made if it is not there.

    Raises
    ------
    UnwritableFolderError
        If nothing can be written there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Staging(Path(folder)) as staging:
    ...         staging.place(Path(folder, "0.0.0"), b"1234")
    ...     print(Path(folder, "0.0.0").read_bytes())
    b'1234'
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            remove_stale(root)
            self.folder, self._lock = _make_folder(root / FOLDER)
            self.digests = DigestFile(root)
        except OSError as error:
            raise explain_os_error(error, root) from error
        self._numbers = itertools.count()
        self._made: set[str] = set()
        self._changed = threading.Condition()
        self._busy, self._closed = 0, False

    def place(self, path: str | os.PathLike[str], body: memoryview | bytes) -> None:
        """Write a file whole, replacing what is there.

        Raises
        ------
        DiskFullError, UnwritableFolderError, UnreadableDataError
            If it cannot be; nothing of it is left then.
        FetchStopped
            If this was closed before, as a run does that stops.
        """
        with self._changed:
            if self._closed:
                raise FetchStopped("stopped")
            self._busy += 1
        try:
            self._place(os.fspath(path), body)
        except OSError as error:
            raise explain_os_error(error, path) from error
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _place(self, final: str, body: memoryview | bytes) -> None:
        temporary = os.path.join(self.folder, str(next(self._numbers)))  # noqa: PTH118 (three times as fast)
        folder = os.path.dirname(final)  # noqa: PTH120
        try:
            if folder not in self._made:
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
                self._made.add(folder)
            _write(temporary, memoryview(body))
            self.digests.add(final, len(body), zlib.crc32(body))
            try:
                os.replace(temporary, final)  # noqa: PTH105
            except FileNotFoundError:  # somebody removed the folder meanwhile
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
                os.replace(temporary, final)  # noqa: PTH105
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise

    def close(self) -> None:
        """Let what is being written end, write nothing more, and remove the folder and what is unfinished in it."""
        with self._changed:
            self._closed = True
            # A disk that does not answer must not keep the user waiting; the next run would clean up.
            self._changed.wait_for(lambda: not self._busy, timeout=_CLOSING_SECONDS)
            if not self._busy:
                self.digests.close()
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run may be there
            self.folder.parent.rmdir()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_writable(root: Path) -> None:
    """Check that a folder can be written to, or made, before much is asked of a bucket.

    Raises
    ------
    UnwritableFolderError
        If not.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(Path(folder, "data"))
    ...     Path(folder, "file").touch()
    ...     try:
    ...         check_writable(Path(folder, "file", "data"))
    ...     except UnwritableFolderError as error:
    ...         print(str(error).rpartition("file ")[2])
    is a file; choose another folder with --dest
    """
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise UnwritableFolderError(f"{place} is a file; choose another folder with --dest")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UnwritableFolderError(f"{place} cannot be written to; choose another folder with --dest")


def _make_folder(above: Path) -> tuple[Path, Any]:
    """Make a folder whose lock this process holds."""
    folder = above
    for _ in range(_TRIES):
        above.mkdir(parents=True, exist_ok=True)
        try:
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=above))
            file = (folder / _LOCK).open("wb")
        except FileNotFoundError:  # another run ended and removed it at this moment
            continue
        if take_lock(file, otherwise=True) and (folder / _LOCK).exists():
            return folder, file
        file.close()  # another run took it for stale before it was locked
    raise FileNotFoundError(errno.ENOENT, "vanishes again and again", str(above))


def _write(name: str, body: memoryview) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
    try:
        while body:
            body = body[os.write(descriptor, body) :]
    finally:
        os.close(descriptor)


def explain_os_error(error: OSError, path: str | os.PathLike[str]) -> CscError:
    """Return our error for one of the operating system about a file that was to be written.

    Examples
    --------
    >>> explain_os_error(PermissionError(13, "Permission denied"), "data/.zattrs")
    UnwritableFolderError('data/.zattrs cannot be written: Permission denied; choose another folder with --dest')
    """
    if is_full_disk(error):
        return DiskFullError(f"{path} cannot be written: {error.strerror}; free some space and run the same again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return UnwritableFolderError(f"{path} cannot be written: {error.strerror}; choose another folder with --dest")
    if error.errno == errno.EXDEV:
        return UnreadableDataError(
            f"{path} lies on another disk than {FOLDER}; link whole data sets, not parts of them"
        )
    return UnreadableDataError(f"{path} cannot be written: {error.strerror or error}")


def take_lock(file: Any, *, otherwise: bool = False) -> bool:
    """Take the lock of an open file; return whether it was free, or ``otherwise`` where there are no such locks."""
    if sys.platform == "win32":
        return otherwise
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def remove_stale(root: Path) -> None:
    """Remove what killed runs left below a folder."""
    above = root / FOLDER
    for folder in above.glob("run-*"):
        lock = folder / _LOCK
        try:
            with lock.open("r+b") as file:
                stale = take_lock(file) or time.time() - lock.stat().st_mtime > _OLD_SECONDS
        except FileNotFoundError:
            # Being made at this moment, or killed while it was.
            stale = time.time() - _modified(folder) > _OLD_SECONDS
        except OSError:
            continue
        if stale:
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or others are in it
        above.rmdir()


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return time.time()
