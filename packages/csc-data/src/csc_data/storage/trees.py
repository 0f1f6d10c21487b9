"""Listing folders and reading many small files, on disk or in a bucket.

A crop of 48 classes has some hundred files of metadata, the challenge ten thousands; over a network they are asked for
side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from csc_data.errors import MissingBucketError, MissingDataError
from csc_data.storage.bucket import Bucket
from csc_data.storage.limits import DEFAULT_LIMITS
from csc_data.storage.paths import is_remote
from csc_data.storage.remote import read_files
from csc_data.storage.stores.places import FolderStore, UrlStore

_REQUESTS = 128
"""Most requests under way at once: metadata is small, waiting for it is all that takes time."""


class FileTree(Protocol):
    """What can be listed and read."""

    def children(self, folders: Sequence[str]) -> list[list[str]]:
        """Return the names of the folders in each folder, less hidden ones; none for a folder that is not there."""
        ...

    def read(self, files: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each file; None for one that is not there."""
        ...


class LocalTree:
    """Files on disk.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "crop1").mkdir()
    ...     _ = Path(folder, "notes").write_text("1234")
    ...     print(LocalTree().children([folder]), LocalTree().read([f"{folder}/notes", f"{folder}/none"]))
    [['crop1']] [b'1234', None]
    """

    _files = FolderStore("")

    def children(self, folders: Sequence[str]) -> list[list[str]]:
        """Return the names of the folders in each folder, less hidden ones: unfinished work lies in them."""
        return [_shown(self._files.folders(folder)) for folder in folders]

    def read(self, files: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each file; None for one that is not there."""
        return [content for _, content in self._files.read_many(files, DEFAULT_LIMITS.metadata_bytes)]


class BucketTree:
    """Objects behind ``s3://`` URLs.

    Parameters
    ----------
    endpoint : str
        Where the server answers; "" is what fsspec's configuration says.
    """

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint = endpoint
        self._buckets: dict[str, Bucket] = {}

    def children(self, folders: Sequence[str]) -> list[list[str]]:
        """Return the names of the folders in each folder, less hidden ones; none for a folder that is not there."""
        places = [self._find(folder) for folder in folders]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            listed = pool.map(lambda place: place[0].children(place[1])[0], places)
            return [_shown(names) for names in listed]

    def read(self, files: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each file; None for one that is not there."""
        places = [self._find(file) for file in files]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(lambda place: _read_object(*place), places))

    def _find(self, url: str) -> tuple[Bucket, str]:
        name, _, key = url.partition("://")[2].partition("/")
        if name not in self._buckets:
            self._buckets[name] = Bucket(name, endpoint=self.endpoint)
        return self._buckets[name], key.strip("/")


class RemoteTree:
    """Files behind any other URLs that fsspec knows."""

    def children(self, folders: Sequence[str]) -> list[list[str]]:
        """Return the names in each folder, less hidden ones and the files of metadata."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(lambda folder: _shown(UrlStore(folder).folders("")), folders))

    def read(self, files: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each file; None for one that is not there."""
        return read_files(files)


def open_tree(path: str, endpoint: str = "") -> FileTree:
    """Return the tree that a path or URL lies in.

    Examples
    --------
    >>> type(open_tree("data")).__name__, type(open_tree("s3://bucket/data")).__name__
    ('LocalTree', 'BucketTree')
    """
    if not is_remote(path):
        return LocalTree()
    return BucketTree(endpoint) if path.startswith("s3://") else RemoteTree()


def _read_object(bucket: Bucket, key: str) -> bytes | None:
    try:
        return bytes(bucket.read(key))
    except MissingBucketError:
        raise
    except MissingDataError:
        return None


def _shown(names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]
