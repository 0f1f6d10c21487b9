"""Volumes of which nothing is read that lies outside of their own folder."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.storage.stores.places import FolderStore, GatheredStore, Part, Store
from csc_data.volumes import Volume


class InsideStore(Store):
    """Files of a hierarchy on disk, without those that a link in it leads to elsewhere.

    Its own folder may be a link, as data folders often are; where it leads is looked up once.

    Parameters
    ----------
    store : FolderStore or GatheredStore
    """

    def __init__(self, store: FolderStore | GatheredStore) -> None:
        self._store = store
        roots = [store] if isinstance(store, FolderStore) else store.places.values()
        self._roots = tuple(os.path.realpath(root.root) + os.sep for root in roots)

    @property
    def name(self) -> str:
        """The folder's path."""
        return self._store.name

    @property
    def identity(self) -> Hashable:
        """That of the store, and that no link leads out of it."""
        return "inside", self._store.identity

    def place(self, key: str) -> str:
        """Return the path of a key."""
        return self._store.place(key)

    def read(self, key: str, limit: int, part: Part | None = None) -> bytes | None:
        """Return the bytes of a file, or of a part of it; None if there is no such file, or it lies outside."""
        return self._store.read(key, limit, part) if self._holds(key) else None

    def size(self, key: str) -> int | None:
        """Return the bytes of a file; None if there is no such file, or it lies outside."""
        return self._store.size(key) if self._holds(key) else None

    def folders(self, key: str) -> tuple[str, ...]:
        """Return the names of the folders right below a folder, sorted."""
        return self._store.folders(key) if self._holds(key) else ()

    def stamps(self, keys: Sequence[str]) -> list[Hashable]:
        """Return, for each file, what changes when it does."""
        return self._store.stamps(keys)

    def signature(self, key: str) -> Iterator[tuple[str, int, int]]:
        """Give name, size and time of change of every file below a folder."""
        yield from self._store.signature(key) if self._holds(key) else ()

    def _holds(self, key: str) -> bool:
        return os.path.realpath(self._store.place(key)).startswith(self._roots)


def keep_inside(volume: Volume) -> Volume:
    """Return a volume of which no link in its folder leads out; what is not on disk is returned as it is."""
    levels = tuple(replace(level, array=_kept(level.array)) for level in volume.levels)
    same = all(new.array is old.array for new, old in zip(levels, volume.levels, strict=True))
    return volume if same else replace(volume, levels=levels)


def _kept(array: Any) -> Any:
    source = getattr(array, "source", None)
    if isinstance(source, StoredChunks) and isinstance(source.store, FolderStore | GatheredStore):
        return ChunkedArray(replace(source, store=InsideStore(source.store)), array.attrs)
    return array
