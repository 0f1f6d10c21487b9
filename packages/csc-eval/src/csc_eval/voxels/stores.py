"""Read-only access to the files of a zarr hierarchy, in a folder or straight out of a zip.

A zip is never unpacked: members are read one by one, so nothing is written, and what a member may unpack to is bounded
by the reader. Names are still checked, as a zip that climbs out of its folder is an attack or an accident.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from csc_data.errors import CscError, InvalidArgumentError, MissingDataError, UnreadableDataError

MAX_UNCOMPRESSED_SIZE = 50 * 1024**3
"""What a zip may declare to unpack to, in bytes; the portal's limit."""

MAX_METADATA_SIZE = 16 * 1024**2
"""Bytes of a JSON document; multiscale metadata of real files has a few kilobytes."""


class UnsafeArchiveError(CscError, ValueError):
    """A zip holds names, links or sizes that no honest submission has."""


class Store(Protocol):
    """The files of a hierarchy: keys are relative, with forward slashes."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a file's bytes, None if there is none; raise UnreadableDataError if it has more than `limit`."""

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder ("" is the root), sorted."""

    def has(self, key: str) -> bool:
        """Tell whether there is a file of that key."""

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, size and checksum (or time of change) of every file below a folder, in a fixed order."""


class FolderStore:
    """A hierarchy in a folder of the file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.root)

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a file's bytes, None if there is none."""
        path = self.root / key
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise UnreadableDataError(f"{path} cannot be read: {error}") from error
        if len(data) > limit:
            raise UnreadableDataError(f"{path} has more than the {limit} bytes that it may have")
        return data

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        path = self.root / key
        if not path.is_dir():
            return ()
        with os.scandir(path) as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir()))

    def has(self, key: str) -> bool:
        """Tell whether there is a file of that key."""
        try:
            return (self.root / key).is_file()
        except (OSError, ValueError):  # a name that no file system takes
            return False

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, size and time of change of every file below a folder."""
        for folder, folders, names in os.walk(self.root / key):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                status = path.stat()
                yield path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime_ns


class ZipStore:
    """A hierarchy in a zip, from one of its folders on."""

    def __init__(self, path: Path, *, prefix: str = "", max_size: int = MAX_UNCOMPRESSED_SIZE) -> None:
        self.path = path
        self.prefix = prefix
        self.max_size = max_size
        self._open()

    def _open(self) -> None:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise UnreadableDataError(f"{self.path} is no readable zip: {error}") from error
        members = _check_members(self.path, self._zip.infolist(), self.max_size)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._folders: dict[str, set[str]] = {"": set()}
        for key, info in members:
            if self.prefix and not key.startswith(self.prefix + "/"):
                continue
            parts = PurePosixPath(key[len(self.prefix) + 1 :] if self.prefix else key).parts
            for depth in range(len(parts) - (not info.is_dir())):
                self._folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
                self._folders.setdefault("/".join(parts[: depth + 1]), set())
            if not info.is_dir():
                self._members["/".join(parts)] = info

    @property
    def name(self) -> str:
        """The zip's path and the folder in it."""
        return f"{self.path}/{self.prefix}" if self.prefix else str(self.path)

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a member's bytes, None if there is none."""
        info = self._members.get(key)
        if info is None:
            return None
        where = f"{self.path}:{info.filename}"
        if info.file_size > limit:
            raise UnreadableDataError(
                f"{where} declares {info.file_size} bytes, more than the {limit} that it may have"
            )
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise UnreadableDataError(f"{where} cannot be read: {error}") from error
        if len(data) > info.file_size:
            raise UnreadableDataError(f"{where} unpacks to more than the {info.file_size} bytes that it declares")
        return data

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        return tuple(sorted(self._folders.get(key, ())))

    def has(self, key: str) -> bool:
        """Tell whether there is a member of that key."""
        return key in self._members

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, size and checksum of every member below a folder."""
        for name in sorted(self._members):
            if name.startswith(key + "/"):
                yield name, self._members[name].file_size, self._members[name].CRC

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "prefix": self.prefix, "max_size": self.max_size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class GatheredStore:
    """Several folders as one hierarchy: each stands for one folder of the root."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self.places = dict(places)

    @property
    def name(self) -> str:
        """The folders' common parent."""
        return os.path.commonpath([path.parent for path in self.places.values()]) if self.places else "nowhere"

    def _find(self, key: str) -> tuple[FolderStore, str] | None:
        first, _, rest = key.partition("/")
        return (FolderStore(self.places[first]), rest) if first in self.places else None

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a file's bytes, None if there is none."""
        found = self._find(key)
        return found[0].read(found[1], limit) if found else None

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        if not key:
            return tuple(sorted(self.places))
        found = self._find(key)
        return found[0].folders(found[1]) if found else ()

    def has(self, key: str) -> bool:
        """Tell whether there is a file of that key."""
        found = self._find(key)
        return bool(found and found[0].has(found[1]))

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Yield name, size and time of change of every file below a folder."""
        found = self._find(key)
        if found:
            yield from found[0].signature(found[1])


def _check_members(path: Path, members: list[zipfile.ZipInfo], max_size: int) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    total = sum(member.file_size for member in members)
    if total > max_size:
        raise UnsafeArchiveError(f"{path} declares to unpack to {total} bytes, more than the {max_size} allowed")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name:
            raise UnsafeArchiveError(f"{path} holds the name {name!r}, which leads out of the archive; pack it again")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeArchiveError(f"{path} holds the link {name!r}; pack the files themselves")
        if member.flag_bits & 0x1:
            raise UnsafeArchiveError(f"{path} is encrypted ({name!r}); pack it without a password")
        key = "/".join(parts)
        if key in seen:
            raise UnsafeArchiveError(f"{path} holds {name!r} twice; pack it again")
        seen.add(key)
        yield key, member


def read_json(store: Store, key: str) -> dict[str, Any] | None:
    """Return a JSON document that is an object; None if there is no such file.

    Raises
    ------
    UnreadableDataError
        If it is no JSON, or no object.
    """
    data = store.read(key, MAX_METADATA_SIZE)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableDataError(f"{store.name}/{key} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableDataError(f"{store.name}/{key} holds no JSON object")
    return document


def open_store(path: str | os.PathLike[str] | Store, *, max_size: int = MAX_UNCOMPRESSED_SIZE) -> Store:
    """Open a zip, a zarr folder, or a folder that holds exactly one zip and no zarr; a store is returned as it is.

    One ``*.zarr`` folder further down is accepted; its content counts.

    Raises
    ------
    MissingDataError
        If there is nothing at the path.
    InvalidArgumentError
        If there are several zarr folders, or it is neither zip nor folder.
    UnsafeArchiveError
        If the zip cannot be trusted.
    """
    if not isinstance(path, str | os.PathLike):
        return path
    root = Path(path)
    if not root.exists():
        raise MissingDataError(f"{root} does not exist; expected a zip or a zarr folder")
    if root.is_dir():
        zips = sorted(root.glob("*.zip"))
        if len(zips) == 1 and not any(entry.is_dir() for entry in root.iterdir()):
            root = zips[0]
        elif len(zips) > 1 and not any(entry.is_dir() for entry in root.iterdir()):
            raise InvalidArgumentError(f"{root} holds {len(zips)} zips; name one of them")
    store: Store = FolderStore(root) if root.is_dir() else ZipStore(root, max_size=max_size)
    inner = list(_zarr_folders(store, "", depth=6))
    if len(inner) > 1:
        raise InvalidArgumentError(f"{root} holds several zarr folders ({', '.join(inner[:5])}); expected one")
    if not inner:
        return store
    if isinstance(store, ZipStore):
        return ZipStore(root, prefix=inner[0], max_size=max_size)
    return FolderStore(root / inner[0])


def _zarr_folders(store: Store, key: str, depth: int) -> Iterator[str]:
    for name in store.folders(key):
        below = f"{key}/{name}" if key else name
        if name == "__MACOSX" or re.fullmatch(r"(crop)?\d+", name):
            continue  # what lies in a crop belongs to it
        if name.endswith(".zarr"):
            yield below
        elif depth and not any(store.has(f"{below}/{file}") for file in (".zarray", ".zgroup", "zarr.json")):
            yield from _zarr_folders(store, below, depth - 1)
