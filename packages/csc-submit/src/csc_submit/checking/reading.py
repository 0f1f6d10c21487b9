"""Reading a submission that may come from anybody: a zarr folder, or a zip that is read in place and never unpacked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.formats.reading import open_chunks
from csc_data.storage.limits import Limits
from csc_data.storage.nodes import read_nodes
from csc_data.storage.stores.places import Store
from csc_data.storage.stores.submissions import open_store

_LIMITS = Limits(chunks=2**24, metadata_bytes=2**24)
_METADATA = (".zarray", ".zgroup", "zarr.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A submission that is open for reading.

    Attributes
    ----------
    store : Store
        Its files; the crops lie at its root.
    """

    store: Store

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the arrays in each crop; unfinished work lies in hidden folders, which do not count."""
        found = {}
        for crop in self._shown(""):
            classes = tuple(name for name in self._shown(crop) if self._holds_zarr(f"{crop}/{name}"))
            if classes or self._holds_zarr(crop):
                found[crop] = classes
        return found

    def _shown(self, key: str) -> list[str]:
        return [name for name in self.store.folders(key) if not name.startswith(".")]

    def _holds_zarr(self, key: str) -> bool:
        if any(self.store.has(f"{key}/{name}") for name in _METADATA):
            return True
        return any(self._holds_zarr(f"{key}/{name}") for name in self._shown(key))

    def array(self, crop: str, name: str) -> ChunkedArray:
        """Open an array.

        Raises
        ------
        UnreadableDataError
            If there is none, or its metadata are damaged.
        """
        (node,) = read_nodes(self.store, [f"{crop}/{name}"], limits=_LIMITS)
        if node is None or not node.is_array:
            raise UnreadableDataError("it is a zarr group where an array was expected")
        return open_chunks(node, limits=_LIMITS)


def open_submission(path: str | os.PathLike[str]) -> Opened:
    """Open a submission for reading.

    Raises
    ------
    MissingDataError
        If there is nothing.
    UnreadableDataError
        If it is neither a folder nor a zip.
    UnsafeArchiveError
        If the zip cannot be trusted.
    """
    if not Path(path).exists():
        raise MissingDataError(f"there is no submission {os.fspath(path)}; `csc pack-results` makes one")
    return Opened(store=open_store(path))
