"""Reading a submission that may come from anybody: a zarr folder, or a zip that is read in place and never unpacked."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from csc_data.errors import MissingDataError, Problem, UnreadableDataError
from csc_data.formats.writing import OPENING_ERRORS, child_names, is_array, open_node

_CROP = re.compile(r"crop\d+")


class LazyZip:
    """A zip that zarr opens when the first array is asked for: zarr 3 cannot close what it has not opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Any = None

    def store(self) -> Any:
        """Return the store, the same one each time."""
        if self._store is None:
            self._store = zarr.storage.ZipStore(str(self._path), mode="r")
        return self._store

    def close(self) -> None:
        """Close it, if it was opened."""
        if self._store is not None:
            self._store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A submission that is open for reading.

    Attributes
    ----------
    root : Path or LazyZip
        The folder, or the zip.
    prefix : str
        The folder in the zip that holds the crops; empty at its root.
    entries : tuple of str
        File names in the zip; empty for a folder.
    problems : tuple of Problem
        What is wrong with the container.
    """

    root: Path | LazyZip
    prefix: str = ""
    entries: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the arrays in each crop."""
        if isinstance(self.root, Path):
            return {crop: child_names(self.root / crop) for crop in child_names(self.root)}
        found: dict[str, set[str]] = {}
        for entry in self.entries:
            parts = entry.removeprefix(self.prefix).split("/")
            if len(parts) == 3 and parts[2] in (".zarray", ".zgroup") and entry.startswith(self.prefix):
                found.setdefault(parts[0], set()).add(parts[1])
        return {crop: tuple(sorted(classes)) for crop, classes in sorted(found.items())}

    def array(self, crop: str, name: str) -> Any:
        """Open an array.

        Raises
        ------
        UnreadableDataError
            If it is none, or its metadata is damaged.
        """
        if isinstance(self.root, Path):
            node = open_node(self.root / crop / name)
        else:
            try:
                node = zarr.open(self.root.store(), mode="r", path=f"{self.prefix}{crop}/{name}")
            except OPENING_ERRORS as error:
                raise UnreadableDataError(f"it cannot be opened as zarr: {error}") from error
        if not is_array(node):
            raise UnreadableDataError("it is a zarr group where an array was expected")
        return node


@contextlib.contextmanager
def open_submission(path: str | os.PathLike[str]) -> Iterator[Opened]:
    """Open a submission for reading.

    Raises
    ------
    MissingDataError
        If there is nothing.
    UnreadableDataError
        If it is neither a folder nor a zip.
    """
    place = Path(path)
    if place.is_dir():
        yield _open_folder(place)
        return
    if not place.exists():
        raise MissingDataError(f"there is no submission {place}; `csc pack-results` makes one")
    try:
        with zipfile.ZipFile(place) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UnreadableDataError(f"{place} is no zip: {error}") from error
    entries = tuple(info.filename for info in infos)
    opened = LazyZip(place)
    try:
        yield Opened(root=opened, prefix=_prefix(entries), entries=entries, problems=tuple(_zip_problems(infos)))
    finally:
        opened.close()


def _open_folder(place: Path) -> Opened:
    if not any(_CROP.fullmatch(name) for name in child_names(place)):
        inner = [name for name in child_names(place) if name.endswith(".zarr")]
        if len(inner) == 1:
            return Opened(root=place / inner[0])
    return Opened(root=place)


def _prefix(entries: Sequence[str]) -> str:
    """Return the one ``*.zarr`` folder that holds the crops, where they are not at the root."""
    tops = {entry.split("/", 1)[0] for entry in entries if "/" in entry}
    if any(_CROP.fullmatch(top) for top in tops):
        return ""
    inner = [top for top in tops if top.endswith(".zarr")]
    return f"{inner[0]}/" if len(inner) == 1 else ""


def _zip_problems(infos: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    found, seen = [], set()
    for info in infos:
        name = info.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or re.match(r"^[A-Za-z]:", name):
            found.append(Problem(where=name, what="is a path that leaves the zip"))
        if stat.S_ISLNK(info.external_attr >> 16):
            found.append(Problem(where=name, what="is a symbolic link"))
        if name in seen:
            found.append(Problem(where=name, what="is in the zip twice"))
        seen.add(name)
    return found


def read_box(array: Any, box: tuple[slice, ...]) -> npt.NDArray[Any]:
    """Read a box of an array.

    Raises
    ------
    UnreadableDataError
        If a chunk is damaged.
    """
    try:
        return np.asarray(array[box])
    except (RuntimeError, ValueError, OSError) as error:  # what numcodecs and stores raise for bad chunks
        where = ", ".join(f"{axis} {s.start}:{s.stop}" for axis, s in zip("zyx", box, strict=True))
        raise UnreadableDataError(f"a chunk in the box {where} cannot be read: {error}") from error
