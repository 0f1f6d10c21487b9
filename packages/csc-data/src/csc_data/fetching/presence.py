"""Whether a file of the bucket is there already."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from csc_data.fetching.plan import FileGroup
from csc_data.storage.bucket import RemoteFile

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def md5_of_etag(etag: str) -> str:
    """Return the MD5 sum that an ETag may be; "" for what was uploaded in parts, where it is none.

    >>> md5_of_etag('"9e107d9d372bb6826bd81d3542a419d6"')
    '9e107d9d372bb6826bd81d3542a419d6'
    >>> md5_of_etag('"9e107d9d372bb6826bd81d3542a419d6-12"')
    ''
    """
    match = _MD5.fullmatch(etag)
    return match[1] if match else ""


def md5_of(body: memoryview | bytes) -> str:
    """Return the MD5 sum of bytes."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def is_present(path: str, file: RemoteFile, *, checksums: bool = False) -> bool:
    """Tell whether a local file is that of the bucket: of its size, and not older than the last change there.

    Parameters
    ----------
    path : str
    file : RemoteFile
    checksums : bool
        Whether to compare the content as well, where the ETag is an MD5 sum.
    """
    try:
        state = os.stat(path)  # noqa: PTH116 (called for each of a million files)
    except (FileNotFoundError, NotADirectoryError):
        return False
    # A second of grace: dates of the bucket have whole seconds, and clocks differ.
    if state.st_size != file.size or state.st_mtime < file.modified - 1:
        return False
    expected = md5_of_etag(file.etag) if checksums else ""
    return not expected or md5_of(Path(path).read_bytes()) == expected


def compare_group(group: FileGroup, *, overwrite: bool, checksums: bool) -> None:
    """Set what of a group is to be fetched; to overwrite, that is all, and what the bucket does not have is stale."""
    if overwrite or not os.path.isdir(group.folder):  # noqa: PTH112
        group.todo = group.files
    else:
        group.todo = [file for file in group.files if not is_present(group.path(file), file, checksums=checksums)]
    if overwrite and group.whole:
        known = {os.path.normpath(group.path(file)) for file in group.files}
        group.stale = [path for path in _files_in(group.folder) if path not in known]


def _files_in(folder: Path) -> list[str]:
    return [os.path.join(above, name) for above, _, names in os.walk(folder) for name in names]  # noqa: PTH118
