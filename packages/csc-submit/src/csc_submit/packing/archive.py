"""The zip of a submission: the same bytes for the same content, whatever the machine and the time."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that the format can say
_ZARR_FILES = {".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def write_zip(folder: Path, destination: Path) -> Path:
    """Write all of a zarr folder into a zip, crops at its root, and return the zip.

    Nothing is compressed, as chunks are already. Hidden folders, unfinished work among them, stay out. The zip is
    written under a temporary name, then renamed.
    """
    # One name for all: what a killed process left is written over, and does not take room for good.
    temporary = destination.with_name(f"{destination.name}.part")
    files = sorted(
        (path.relative_to(folder) for path in folder.rglob("*") if path.is_file()), key=lambda path: path.as_posix()
    )
    try:
        with zipfile.ZipFile(temporary, "w", compression=zipfile.ZIP_STORED) as archive:
            for file in files:
                if _belongs(file):
                    _add(archive, folder / file, file.as_posix())
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)
    return destination


def _belongs(file: Path) -> bool:
    if any(part.startswith(".") for part in file.parts[:-1]):
        return False
    return not file.name.startswith(".") or file.name in _ZARR_FILES


def _add(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.create_system = 3  # Unix, on every system
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, 2**20)
