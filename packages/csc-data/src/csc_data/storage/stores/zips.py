"""A hierarchy straight out of a zip, which is never unpacked and never trusted.

Members are read one by one, so nothing is written, and what a member may unpack to is bounded by the reader. Names are
still checked, as a zip that climbs out of its folder is an attack or an accident.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from csc_data.errors import CscError, Problem, UnreadableDataError
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.stores.places import Part, Store, bounds_of

_LZMA_ERROR: type[Exception] = getattr(getattr(zipfile, "lzma", None), "LZMAError", EOFError)  # a Python may lack it
_READING_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError),
    _LZMA_ERROR,
)


DOTTED = "is a path with '..' in it"


class UnsafeArchiveError(CscError, ValueError):
    """A zip holds names, links or sizes that no honest submission has.

    Parameters
    ----------
    path : str
        The zip.
    problems : sequence of Problem
        At least one; the text names the first.
    """

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(f"{path}: {first.where!r} {first.what}; {first.remedy}")

    def __reduce__(self) -> tuple[type[UnsafeArchiveError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.path, self.problems)


class DamagedArchiveError(UnreadableDataError):
    """A member of a zip cannot be unpacked."""


class ZipStore(Store):
    """A hierarchy in a zip, from one of its folders on.

    Parameters
    ----------
    path : path-like
        The zip.
    prefix : str
        The folder in it that is the root.
    max_size : int
        Bytes that all members together may declare to unpack to.

    Raises
    ------
    UnreadableDataError
        If it is not a zip.
    UnsafeArchiveError
        If it cannot be trusted.

    Examples
    --------
    >>> import tempfile
    >>> import zipfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder, "mine.zip"), "w") as file:
    ...         file.writestr("crop557/.zgroup", '{"zarr_format": 2}')
    ...     store = ZipStore(Path(folder, "mine.zip"))
    ...     print(store.folders(""), store.find_damage())
    ...     store.close()
    ('crop557',) None
    """

    def __init__(
        self, path: str | os.PathLike[str], *, prefix: str = "", max_size: int = MAX_UNCOMPRESSED_SIZE
    ) -> None:
        self.path = os.fspath(path)
        self.prefix = prefix
        self.max_size = max_size
        self._open()

    def _open(self) -> None:
        try:
            found = os.stat(self.path)  # noqa: PTH116
            if not stat.S_ISREG(found.st_mode):  # what a pipe or a device gives has no end
                raise ValueError("it is a pipe or a device")  # noqa: TRY301
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise UnreadableDataError(f"{self.path} is not a zip that can be read: {error}") from error
        infos = self._zip.infolist()
        problems = [*_problems(self.path, infos, self.max_size), *_misnamed(self.path, infos)]
        if problems:
            raise UnsafeArchiveError(self.path, problems)
        self._stamp = found.st_size, found.st_mtime_ns
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._sorted: list[str] | None = None
        self._folders: dict[str, set[str]] = {"": set()}
        skipped = PurePosixPath(self.prefix).parts
        for info in infos:
            parts = PurePosixPath(info.filename).parts
            if parts[: len(skipped)] != skipped or parts == skipped:
                continue
            parts = parts[len(skipped) :]
            for depth in range(len(parts) - (not info.is_dir())):
                self._folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
                self._folders.setdefault("/".join(parts[: depth + 1]), set())
            if not info.is_dir():  # of a name that is there twice the last one counts, as it does where it is unpacked
                self._members["/".join(parts)] = info

    @property
    def name(self) -> str:
        """The zip's path and the folder in it."""
        return f"{self.path}/{self.prefix}" if self.prefix else self.path

    @property
    def identity(self) -> Hashable:
        """The zip's absolute path, and the folder in it."""
        return os.path.abspath(self.path), self.prefix  # noqa: PTH100

    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a member, or of a part of it; None if there is no such member."""
        info = self._members.get(key)
        if info is None:
            return None
        where = f"{self.path}:{info.filename}"
        begin, size = bounds_of(part, info.file_size)
        if size > limit:
            raise UnreadableDataError(f"{where} declares {size} bytes, more than the {limit} that it may have")
        try:
            with self._zip.open(info) as file:
                if begin:
                    file.seek(begin)
                data = file.read(size + 1 if part is None else size)
        except _READING_ERRORS as error:
            raise DamagedArchiveError(f"{where} cannot be read: {error}") from error
        if len(data) > size:
            raise DamagedArchiveError(f"{where} unpacks to more than the {size} bytes that it declares")
        return data

    def find_damage(self, passed: Sequence[str] = ()) -> str | None:
        """Return what is wrong with the first member that cannot be unpacked, None if all can.

        Parameters
        ----------
        passed : sequence of str
            Folders whose members were read already.
        """
        known = tuple(f"{key}/" for key in passed)
        for name, info in self._members.items():
            if name.startswith(known):
                continue
            try:
                with self._zip.open(info) as file:
                    while file.read(2**20):
                        pass
            except _READING_ERRORS as error:
                return f"{info.filename}: {error}"
        return None

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        return tuple(sorted(self._folders.get(key, ())))

    def has(self, key: str) -> bool:
        """Tell whether there is a member of that key."""
        return key in self._members

    def size(self, key: str) -> int | None:
        """Return the bytes that a member declares; None if there is no such member."""
        info = self._members.get(key)
        return None if info is None else info.file_size

    def state(self, key: str) -> Hashable:
        """Return inode, size and time of change of the zip itself."""
        try:
            status = os.stat(self.path)  # noqa: PTH116
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def stamps(self, keys: Sequence[str]) -> list[Hashable]:
        """Return size and checksum of each member; None where there is none."""
        found = [self._members.get(key) for key in keys]
        return [None if info is None else (info.file_size, info.CRC) for info in found]

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Give name, size and checksum of every member below a folder."""
        if self._sorted is None:
            self._sorted = sorted(self._members)
        first, beyond = (bisect_left(self._sorted, key + after) for after in ("/", "0"))  # 0 comes after /
        for name in self._sorted[first:beyond]:
            yield name, self._members[name].file_size, self._members[name].CRC

    @property
    def is_closed(self) -> bool:
        """Whether it can be read no more."""
        return self._zip.fp is None

    def close(self) -> None:
        """Close the zip; it is not read afterwards."""
        self._zip.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_once, (os.path.abspath(self.path), self.prefix, self.max_size, self._stamp)  # noqa: PTH100


_opened: dict[tuple[object, ...], ZipStore] = {}


def _open_once(path: str, prefix: str, max_size: int, stamp: tuple[int, int]) -> ZipStore:
    """Open a zip that is sent to a process with each task: a hundred thousand members take seconds to look through."""
    key = (path, prefix, max_size, stamp)
    if key not in _opened or _opened[key].is_closed:
        _opened.clear()
        _opened[key] = ZipStore(path, prefix=prefix, max_size=max_size)
    return _opened[key]


def _problems(path: str, members: Sequence[zipfile.ZipInfo], max_size: int) -> Iterator[Problem]:
    """Say what makes an archive unsafe, from its directory alone."""
    total = sum(member.file_size for member in members)
    if total > max_size:
        what = f"declares to unpack to {total} bytes, more than the {max_size} allowed"
        yield Problem(where=path, what=what, remedy="pack less into it")
    unpacked = PurePosixPath(path).with_suffix(".zarr").name  # as the portal names the folder
    for member in members:
        name = member.filename
        parts = PurePosixPath(name).parts
        inside = os.path.normpath(f"{unpacked}/{name}").startswith(f"{unpacked}/")
        if not parts or name.startswith("/") or "\0" in name or not inside:
            yield Problem(where=name, what="is a path that leaves the zip", remedy="pack it again")
        elif ".." in parts:
            yield Problem(where=name, what=DOTTED, remedy="pack it again, though the portal may take it")
        if stat.S_ISLNK(member.external_attr >> 16):
            yield Problem(where=name, what="is a symbolic link", remedy="pack the files themselves")
        if member.flag_bits & 0x1:
            yield Problem(where=name, what="is encrypted", remedy="pack it without a password")


def _misnamed(path: str, members: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    """Compare the directory's names with those before the members: a chunk under another name would count as absent."""
    with open(path, "rb") as file:  # noqa: PTH123 - as in ZipFile
        for member in sorted(members, key=lambda member: member.header_offset):
            head = b""
            if 0 <= member.header_offset < 2**62:  # a damaged directory names any place
                file.seek(member.header_offset)
                head = file.read(30 + 4 * len(member.orig_filename))
            name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
            if name.decode("utf-8" if member.flag_bits & 0x800 else "cp437", "replace") != member.orig_filename:
                what = "has another name in the zip's directory than before its bytes"
                yield Problem(where=member.filename, what=what, remedy="it is damaged; pack it again")
