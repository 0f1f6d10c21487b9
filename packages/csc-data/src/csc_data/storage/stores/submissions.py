"""Where the crops of a submission lie: in a zarr folder, in a zip, or in one of them further down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.stores.places import FolderStore, Store, join_key

_METADATA = (".zarray", ".zgroup", "zarr.json")

if TYPE_CHECKING:
    from csc_data.storage.stores.zips import ZipStore


def open_store(path: str | os.PathLike[str] | Store, *, max_size: int = MAX_UNCOMPRESSED_SIZE) -> Store:
    """Open a zip, a zarr folder, or a folder that holds exactly one zip and no zarr; a store is returned as it is.

    One ``*.zarr`` folder further down is accepted; its content counts.

    Raises
    ------
    MissingDataError
        If there is nothing at the path.
    InvalidArgumentError
        If there are several zarr folders, or several zips.
    UnreadableDataError
        If it is neither a zip nor a folder.
    UnsafeArchiveError
        If the zip cannot be trusted.

    Examples
    --------
    >>> import tempfile
    >>> import zipfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder, "mine.zip"), "w") as file:
    ...         file.writestr("submission.zarr/.zgroup", '{"zarr_format": 2}')
    ...         file.writestr("submission.zarr/crop557/.zgroup", '{"zarr_format": 2}')
    ...     store = open_store(folder)
    ...     print(store.folders(""))
    ...     store.close()
    ('crop557',)
    """
    if isinstance(path, Store):
        return path
    root = Path(path)
    if not root.exists():
        raise MissingDataError(f"{root} does not exist; expected a zip or a zarr folder")
    if root.is_dir():
        zips = zips_in(root)
        if len(zips) > 1:
            raise InvalidArgumentError(f"{root} holds {len(zips)} zips; name one of them")
        root = zips[0] if zips else root
    store = FolderStore(root) if root.is_dir() else _open_zip(root, "", max_size)
    inner = list(_zarr_folders(store, "", depth=6))
    if len(inner) > 1:
        raise InvalidArgumentError(f"{root} holds several zarr folders ({', '.join(inner[:5])}); expected one")
    if not inner or (not _holds_crops(store, inner[0]) and _holds_crops(store, "")):
        return store
    if isinstance(store, FolderStore):
        return FolderStore(root / inner[0])
    store.close()
    return _open_zip(root, inner[0], max_size)


def zips_in(folder: Path) -> list[Path]:
    """Return the zips right below a folder, whatever their names end in.

    Examples
    --------
    >>> import tempfile
    >>> import zipfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     zipfile.ZipFile(Path(folder, "mine.backup"), "w").close()
    ...     [path.name for path in zips_in(Path(folder))]
    ['mine.backup']
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".z"))
    if not files:
        return []
    import zipfile  # a zarr folder has no such files

    return [file for file in files if zipfile.is_zipfile(file)]


def _holds_crops(store: Store, key: str) -> bool:
    return any(re.fullmatch(r"(crop)?\d+", name) for name in store.folders(key))


def _open_zip(path: Path, prefix: str, max_size: int) -> ZipStore:
    from csc_data.storage.stores.zips import ZipStore  # zipfile and what it needs, which a folder does not

    return ZipStore(path, prefix=prefix, max_size=max_size)


def _zarr_folders(store: Store, key: str, depth: int) -> Iterator[str]:
    for name in store.folders(key):
        below = join_key(key, name)
        if name == "__MACOSX" or re.fullmatch(r"(crop)?\d+", name):
            continue  # what lies in a crop belongs to it
        if name.endswith(".zarr"):
            yield below
        elif depth and not any(store.has(f"{below}/{file}") for file in _METADATA):
            yield from _zarr_folders(store, below, depth - 1)
