"""The zip of a submission: the same bytes for the same content, whatever the machine and the time."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from csc_submit.digests import files_below

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that the format can say
_ZARR_FILES = {".zarray", ".zattrs", ".zgroup", ".zmetadata"}
_READ_AT_ONCE = 2**24


def write_zip(folder: Path, destination: Path) -> Path:
    """Write all of a zarr folder into a zip, crops at its root, and return the zip.

    Nothing is compressed, as chunks are already. Hidden folders, unfinished work among them, stay out. The zip is
    written under a temporary name, then renamed.

    Examples
    --------
    >>> import tempfile
    >>> import zipfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "submission.zarr", "crop557").mkdir(parents=True)
    ...     _ = Path(folder, "submission.zarr", "crop557", ".zgroup").write_text("{}")
    ...     archive = write_zip(Path(folder, "submission.zarr"), Path(folder, "submission.zip"))
    ...     with zipfile.ZipFile(archive) as opened:
    ...         print(opened.namelist())
    ['crop557/.zgroup']
    """
    with GrowingZip(folder, destination) as archive:
        archive.complete()
    return destination


class GrowingZip:
    """The zip of a zarr folder, written in the order of names while arrays of the folder are still made; a context.

    Who makes the arrays would otherwise stand still in the end, until one process has read all of them again.

    Parameters
    ----------
    folder : Path
        Its arrays lie two levels below, ``crop7/mito``.
    destination : Path
    awaited : iterable of Path
        The arrays that are not finished.
    """

    def __init__(self, folder: Path, destination: Path, awaited: Iterable[Path] = ()) -> None:
        self._folder, self._destination = folder, destination
        self._awaited = {path.relative_to(folder).as_posix() for path in awaited}
        # One name for all: what a killed process left is written over, and does not take room for good.
        self._temporary = destination.with_name(f"{destination.name}.part")
        self._context = ExitStack()

    def __enter__(self) -> GrowingZip:
        with ExitStack() as context:
            context.callback(self._temporary.unlink, missing_ok=True)
            self._archive = context.enter_context(zipfile.ZipFile(self._temporary, "w", zipfile.ZIP_STORED))
            self._context = context.pop_all()
        self._left = self._files()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def finish_array(self, array: Path) -> None:
        """Take note that an array is finished, or that there will be none, and add what can be added now."""
        self._awaited.discard(array.relative_to(self._folder).as_posix())
        self._add()

    def complete(self) -> None:
        """Add all that is left, and put the zip in its place."""
        self._awaited.clear()
        self._add()
        self._archive.close()
        self._temporary.replace(self._destination)

    def _add(self) -> None:
        for found in self._left:
            if found is None:  # an array that is not finished comes next
                return
            name, path = found
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            with open(path, "rb", buffering=0) as source:  # noqa: PTH123 - a path object takes as long as reading it
                entry.file_size = os.fstat(source.fileno()).st_size
                if entry.file_size <= _READ_AT_ONCE:
                    self._archive.writestr(entry, source.read())
                else:
                    with self._archive.open(entry, "w") as target:
                        shutil.copyfileobj(source, target, _READ_AT_ONCE)

    def _files(self) -> Iterator[tuple[str, str] | None]:
        """Yield names and places of files in the order of names, and None as long as one has to wait for an array."""
        for top in sorted({*_names(self._folder), *(name.partition("/")[0] for name in self._awaited)}):
            place = self._folder / top
            inside = {name.partition("/")[2] for name in self._awaited if name.startswith(f"{top}/")}
            if not inside and place.is_file():
                yield from _wanted(place, top)
            elif not top.startswith("."):
                for name in sorted({*_names(place), *inside}):
                    while f"{top}/{name}" in self._awaited:
                        yield None
                    yield from _wanted(place / name, f"{top}/{name}")


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names are asked for


def _wanted(place: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield those files that belong into a zip: of a file itself, or of all below a folder."""
    if place.is_file():
        found = [(name, os.fspath(place))]
    else:
        found = [(file, entry.path) for file, entry in (files_below(place, f"{name}/") if place.is_dir() else ())]
    for file, path in found:
        *folders, last = file.split("/")
        hidden = any(part.startswith(".") for part in folders)
        if not hidden and (not last.startswith(".") or last in _ZARR_FILES):
            yield file, path
