"""Read-only files of a hierarchy, by keys: in a folder, in several folders, behind a URL; a zip is in `zips`.

Keys are relative, with forward slashes, and "" is the root. Every read has a limit in bytes, so that a file which is
larger than its reader expects is refused, not loaded. A store is pickled as its place, and opened again where it goes.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path

from csc_data.errors import MissingDataError, QuestionableDataError, UnreadableDataError
from csc_data.storage.paths import is_remote, join

Part = tuple[int, int | None]
"""First byte and last plus one of a part of a file; a negative first one counts from the end, and then there is no
last."""


def join_key(folder: str, name: str) -> str:
    """Return the key of what lies in a folder.

    >>> join_key("a/b", ".zarray"), join_key("", ".zarray")
    ('a/b/.zarray', '.zarray')
    """
    return f"{folder}/{name}" if folder else name


class Store(ABC):
    """The files of a hierarchy.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_text("1234")
    ...     store = open_place(folder)
    ...     print(store.read("a", limit=100), store.has("b"), store.size("a"), store.folders(""))
    ...     print(dict(store.read_many(["a", "b"], limit=100)), store.stamps(["b"]))
    b'1234' False 4 ()
    {0: b'1234', 1: None} [None]
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Where it is, for messages."""

    @property
    @abstractmethod
    def identity(self) -> Hashable:
        """What tells it from every other one, for caches."""

    @abstractmethod
    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a file, or of a part of it; None if there is no such file.

        Raises
        ------
        UnreadableDataError
            If there are more than ``limit`` bytes, or they cannot be read.
        """

    @abstractmethod
    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted; none if there is no such folder."""

    def has(self, key: str) -> bool:
        """Tell whether there is a file of that key."""
        return self.read(key, sys.maxsize) is not None

    def size(self, key: str) -> int | None:
        """Return the bytes of a file; None if there is no such file.

        Raises
        ------
        UnreadableDataError
            If it cannot be read.
        """
        content = self.read(key, sys.maxsize)
        return None if content is None else len(content)

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Give name, size and checksum (or time of change) of every file below a folder, in a fixed order.

        Raises
        ------
        UnreadableDataError
            If they are not known, as over a network.
        """
        raise UnreadableDataError(f"{self.place(key)}: the state of its files is not known")

    def state(self, key: str) -> Hashable:
        """Return what changes when a file below a folder does; None where that is not known."""
        return None

    def stamps(self, keys: Sequence[str]) -> list[Hashable]:
        """Return, for each file, what changes when it does, if that is cheap to know; None for no file."""
        return [None] * len(keys)

    def read_many(
        self, keys: Sequence[str], limit: int, parts: Sequence[Part] | None = None
    ) -> Iterator[tuple[int, bytes | None]]:
        """Give what `read` returns for each of many keys, with its position among them, in any order."""
        for number, key in enumerate(keys):
            yield number, self.read(key, limit, parts[number] if parts else None)

    def place(self, key: str) -> str:
        """Return the path or URL of a key, for messages."""
        return join_key(self.name, key) if key else self.name


class FolderStore(Store):
    """A hierarchy in a folder of the file system.

    Parameters
    ----------
    root : path-like
        The folder; where it is "", keys are paths.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._base = self.root if not self.root or self.root.endswith("/") else f"{self.root}/"

    @property
    def name(self) -> str:
        """The folder's path."""
        return self.root

    @property
    def identity(self) -> Hashable:
        """The folder's absolute path."""
        return os.path.abspath(self.root)  # noqa: PTH100 - asked for with each array that is opened

    def place(self, key: str) -> str:
        """Return the path of a key."""
        return self._base + key if key else self.root

    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a file, or of a part of it; None if there is no such file."""
        path = self.place(key)
        try:
            # Half the time of pathlib's, for small chunks.
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                return _read_file(path, file, limit, part)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnreadableDataError:
            raise
        except (OSError, ValueError) as error:
            # zarr takes a folder for a chunk that is not stored.
            odd = isinstance(error, OSError) and error.errno in (errno.EISDIR, errno.ELOOP)
            raise (QuestionableDataError if odd else UnreadableDataError)(f"{path} cannot be read: {error}") from error

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        path = self.place(key)
        try:
            with os.scandir(path) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except (OSError, ValueError) as error:
            raise UnreadableDataError(f"{path} cannot be listed: {error}") from error

    def has(self, key: str) -> bool:
        """Tell whether there is a file of that key."""
        return os.path.isfile(self.place(key))  # noqa: PTH113 - false, not an error, for names that no system takes

    def size(self, key: str) -> int | None:
        """Return the bytes of a file; None if there is no such file."""
        return os.path.getsize(self.place(key)) if self.has(key) else None  # noqa: PTH202 - as `has`

    def stamps(self, keys: Sequence[str]) -> list[Hashable]:
        """Return time, size and inode of each file; None where there is none.

        It is asked for each chunk of each read, also those that are in memory, and so spends as little as it can.
        """
        found: list[Hashable] = []
        state, base = os.stat, self._base
        for key in keys:
            try:
                status = state(base + key)
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
            except (OSError, ValueError):
                found.append((0, 0, 0))  # reading it will say what is wrong
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def state(self, key: str) -> Hashable:
        """Return how many files lie below a folder, and the sums of their sizes and of their times of change."""
        count, size, time, places = 0, 0, 0, [self.place(key)]
        while places:
            try:
                with os.scandir(places.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            places.append(entry.path)
                        else:
                            # What a link leads to counts, not the link; one that leads nowhere changes when it does.
                            status = os.stat(entry.path) if entry.is_file() else entry.stat(follow_symlinks=False)  # noqa: PTH116
                            count, size, time = count + 1, size + status.st_size, time + status.st_mtime_ns
            except OSError:  # gone, or not to be looked into
                count -= 2**32
        return count, size, time

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Give name, size and time of change of every file below a folder."""
        for folder, folders, names in os.walk(self.place(key)):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                try:
                    status = path.stat()
                except OSError:  # a link to itself, or a file that is gone by now: reading it will say so
                    yield path.relative_to(self.root).as_posix(), -1, -1
                else:
                    yield path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime_ns


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to does not keep waiting who opens it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_file(path: str, file: FileIO, limit: int, part: Part | None) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):  # what a device gives has no end
        raise QuestionableDataError(f"{path} is not a regular file")
    begin, size = bounds_of(part, status.st_size)
    if size > limit:
        raise QuestionableDataError(f"{path} has {size} bytes, more than the {limit} that it may have")
    if begin:
        file.seek(begin)
    content = file.read(size)
    while len(content) < size and (more := file.read(size - len(content))):  # Linux gives 2 GB at once
        content += more
    return content


def bounds_of(part: Part | None, size: int) -> tuple[int, int]:
    """Return the first byte of a part of a file of some size, and how many bytes of it there are.

    >>> bounds_of((-4, None), 10), bounds_of((8, 20), 10)
    ((6, 4), (8, 2))
    """
    if part is None:
        return 0, size
    begin = max(0, size + part[0]) if part[0] < 0 else part[0]
    return begin, max(0, (size if part[1] is None else min(size, part[1])) - begin)


class GatheredStore(Store):
    """Several folders as one hierarchy: each stands for one folder of the root.

    Parameters
    ----------
    places : mapping of str to path-like
        Name in the root to the folder that it stands for.
    """

    def __init__(self, places: Mapping[str, str | os.PathLike[str]]) -> None:
        self.places = {name: FolderStore(path) for name, path in places.items()}

    @property
    def name(self) -> str:
        """The folders' common parent."""
        roots = [os.path.dirname(os.path.abspath(store.root)) for store in self.places.values()]  # noqa: PTH100, PTH120
        return os.path.commonpath(roots) if roots else "nowhere"

    @property
    def identity(self) -> Hashable:
        """The names and the folders."""
        return tuple((name, store.identity) for name, store in self.places.items())

    def _find(self, key: str) -> tuple[FolderStore | None, str]:
        first, _, rest = key.partition("/")
        return self.places.get(first), rest

    def place(self, key: str) -> str:
        """Return the path of a key."""
        store, rest = self._find(key)
        return super().place(key) if store is None else store.place(rest)

    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a file, or of a part of it; None if there is no such file."""
        store, rest = self._find(key)
        return None if store is None else store.read(rest, limit, part)

    def size(self, key: str) -> int | None:
        """Return the bytes of a file; None if there is no such file."""
        store, rest = self._find(key)
        return None if store is None else store.size(rest)

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        store, rest = self._find(key)
        return tuple(sorted(self.places)) if not key else () if store is None else store.folders(rest)

    def state(self, key: str) -> Hashable:
        """Return what changes when a file below a folder does."""
        store, rest = self._find(key)
        return None if store is None else store.state(rest)

    def stamps(self, keys: Sequence[str]) -> list[Hashable]:
        """Return time, size and inode of each file; None where there is none."""
        found = [self._find(key) for key in keys]
        return [None if store is None else store.stamps([rest])[0] for store, rest in found]

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Give name, size and time of change of every file below a folder."""
        store, rest = self._find(key)
        if store is not None:
            yield from store.signature(rest)


class UrlStore(Store):
    """A hierarchy behind a URL that fsspec knows; its files are taken not to change while a process runs.

    A file that is too large is refused once it has arrived: few servers say the size before.

    Parameters
    ----------
    url : str
        Of the root.
    endpoint : str, optional
        Address of the S3 service, where it is not that of fsspec's configuration.
    """

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        self.url = url
        self.endpoint = endpoint

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    @property
    def identity(self) -> Hashable:
        """URL and endpoint."""
        return self.url, self.endpoint

    def place(self, key: str) -> str:
        """Return the URL of a key."""
        return join(self.url, key) if key else self.url

    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a file, or of a part of it; None if there is no such file."""
        ((_, content),) = self.read_many([key], limit, None if part is None else [part])
        return content

    def read_many(
        self, keys: Sequence[str], limit: int, parts: Sequence[Part] | None = None
    ) -> Iterator[tuple[int, bytes | None]]:
        """Give what `read` returns for each of many keys as it arrives; they are asked for side by side."""
        from csc_data.storage.remote import stream_files  # asyncio, which local reading does not need

        urls = [self.place(key) for key in keys]
        for number, content in stream_files(urls, endpoint=self.endpoint, parts=parts):
            if content is not None and len(content) > limit:
                raise UnreadableDataError(f"{urls[number]} has more than the {limit} bytes that it may have")
            yield number, content

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names right below a URL that may be folders, sorted."""
        from csc_data.storage.remote import list_names

        try:
            names = list_names(self.place(key), endpoint=self.endpoint)
        except MissingDataError:
            return ()
        return tuple(name for name in names if not name.startswith(".") and not name.endswith(".json"))


def open_place(path: str | os.PathLike[str], *, endpoint: str | None = None) -> FolderStore | UrlStore:
    """Return the store whose root is a local folder, or the URL of one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_text("1234")
    ...     open_place(folder).read("a", limit=100)
    b'1234'
    """
    text = os.fspath(path)
    return UrlStore(text, endpoint) if is_remote(text) else FolderStore(text)
