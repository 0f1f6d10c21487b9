"""What the metadata files of a folder say: an array or a group of zarr format 2 or 3, or of N5.

Only files of metadata are read, those of several nodes side by side, without zarr: over a network a volume of ten
levels is opened in two round trips, and an error of the network is never taken for something that is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from csc_data.errors import MissingDataError, QuestionableDataError, UnreadableDataError
from csc_data.storage.limits import DEFAULT_LIMITS, Limits
from csc_data.storage.stores.places import FolderStore, Store, join_key

Format = Literal["zarr 2", "zarr 3", "n5"]

_N5_ARRAY = {"dimensions", "blockSize", "dataType"}
_ZARR_FILES = (".zarray", ".zgroup", ".zattrs", "zarr.json")
_N5_FILE = "attributes.json"


class NotAnObjectError(UnreadableDataError):
    """A file holds JSON, but not an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An array or a group.

    Attributes
    ----------
    store : Store
        Where it lies.
    key : str
        Its folder there.
    format : {"zarr 2", "zarr 3", "n5"}
        Of its files.
    metadata : mapping or None
        Of an array; None for a group.
    attributes : mapping
        The user's attributes.
    """

    store: Store
    key: str
    format: Format
    metadata: Mapping[str, Any] | None
    attributes: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Its path or URL, for messages."""
        return self.store.place(self.key)

    @property
    def name(self) -> str:
        """Its name in the folder that it lies in."""
        return self.key.rpartition("/")[2]

    @property
    def is_array(self) -> bool:
        """Whether it is an array, not a group."""
        return self.metadata is not None


def read_node(store: Store, key: str = "", *, limits: Limits = DEFAULT_LIMITS) -> Node:
    """Read the metadata of an array or group.

    A folder without metadata counts as a group if arrays lie in it: N5 allows that, and the official tools write crops
    so.

    Raises
    ------
    MissingDataError
        If there is neither.
    UnreadableDataError
        If it cannot be read, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/a.zarr/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     node = read_node(open_place(f"{folder}/a.zarr"), "s0")
    ...     print(node.format, node.is_array, node.metadata["chunks"])
    zarr 2 True [2, 2, 2]
    """
    (node,) = read_nodes(store, [key], limits=limits)
    if node is not None:
        return node
    arrays = [child for child in children(store, key, limits=limits) if child.is_array]
    if arrays:
        return replace(arrays[0], key=key, metadata=None, attributes={})
    path = store.place(key)
    if isinstance(store, FolderStore) and not os.path.exists(path):  # noqa: PTH110 - a name may be one that none takes
        raise MissingDataError(f"{path} does not exist")
    files = ", ".join((*(name for name in _ZARR_FILES if name != ".zattrs"), _N5_FILE))
    raise MissingDataError(f"{path} holds no array or group of zarr or N5 (none of {files} is in it)")


def read_nodes(store: Store, keys: Sequence[str], *, limits: Limits = DEFAULT_LIMITS) -> list[Node | None]:
    """Read the metadata of arrays and groups; None where there is none.

    Raises
    ------
    UnreadableDataError
        If one cannot be read, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/a.zarr/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     [node is not None for node in read_nodes(open_place(f"{folder}/a.zarr"), ["s0", "s1"])]
    [True, False]
    """
    files = _read_documents(store, [join_key(key, name) for key in keys for name in _ZARR_FILES], limits)
    step = len(_ZARR_FILES)
    nodes = [_zarr_node(store, key, files[step * n : step * (n + 1)]) for n, key in enumerate(keys)]
    rest = [n for n, node in enumerate(nodes) if node is None]
    documents = _read_documents(store, [join_key(keys[n], _N5_FILE) for n in rest], limits)
    for n, metadata in zip(rest, documents, strict=True):
        attributes = files[step * n + _ZARR_FILES.index(".zattrs")]
        if metadata is not None:
            array = metadata if metadata.keys() >= _N5_ARRAY else None
            nodes[n] = Node(store=store, key=keys[n], format="n5", metadata=array, attributes=metadata)
        elif attributes is not None:  # a group whose .zgroup was forgotten
            nodes[n] = Node(store=store, key=keys[n], format="zarr 2", metadata=None, attributes=attributes)
    return nodes


def _zarr_node(store: Store, key: str, files: Sequence[dict[str, Any] | None]) -> Node | None:
    """Understand the files of zarr; format 2 comes first where both are, as it is what we write."""
    array, group, attributes, newer = files
    if array is not None or group is not None:
        return Node(store=store, key=key, format="zarr 2", metadata=array, attributes=attributes or {})
    if newer is None:
        return None
    own = newer.get("attributes", {})
    if newer.get("node_type") not in {"array", "group"} or not isinstance(own, dict):
        place = store.place(join_key(key, "zarr.json"))
        raise UnreadableDataError(f"{place} describes neither an array nor a group")
    array = newer if newer["node_type"] == "array" else None
    return Node(store=store, key=key, format="zarr 3", metadata=array, attributes=own)


def _read_documents(store: Store, keys: Sequence[str], limits: Limits) -> list[dict[str, Any] | None]:
    """Return JSON objects; None for those that are not there."""
    found: list[dict[str, Any] | None] = [None] * len(keys)
    for number, content in store.read_many(keys, limits.metadata_bytes):
        if content is not None:
            try:
                found[number] = parse_document(store.place(keys[number]), content, limits)
            except NotAnObjectError as error:
                if keys[number].endswith(".zattrs"):  # zarr takes it for no attributes
                    raise QuestionableDataError(str(error)) from error
                raise
    return found


def parse_document(path: str, content: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    UnreadableDataError
        If it is not JSON, not an object, or nested deeper than allowed.

    Examples
    --------
    >>> parse_document("a/.zattrs", b'{"unknown": 255}')
    {'unknown': 255}
    >>> parse_document("a/.zattrs", b"[1, 2]")
    Traceback (most recent call last):
        ...
    csc_data.storage.nodes.NotAnObjectError: a/.zattrs holds list where a JSON object was expected
    """
    try:
        value = json.loads(content.decode("utf-8"))  # as zarr does: neither UTF-16 nor a mark before it
    except (ValueError, RecursionError) as error:
        raise UnreadableDataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotAnObjectError(f"{path} holds {type(value).__name__} where a JSON object was expected")
    layer: list[Any] = [value]
    for _ in range(limits.nesting):
        layer = [item for entry in layer for item in (entry.values() if isinstance(entry, dict) else entry)]
        layer = [item for item in layer if isinstance(item, dict | list)]
        if not layer:
            return value
    raise QuestionableDataError(f"{path} is nested more than {limits.nesting} levels deep")


def children(store: Store, key: str = "", *, limits: Limits = DEFAULT_LIMITS) -> list[Node]:
    """Return the arrays and groups right below a folder, sorted by name; hidden folders are left out.

    Raises
    ------
    UnreadableDataError
        If it cannot be listed, or metadata in it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("s1", "s0"):
    ...         _ = create_array(f"{folder}/a.zarr/{name}", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     [child.name for child in children(open_place(f"{folder}/a.zarr"))]
    ['s0', 's1']
    """
    keys = [join_key(key, name) for name in store.folders(key) if not name.startswith(".")]
    return [node for node in read_nodes(store, keys, limits=limits) if node is not None]


def is_array(store: Store, key: str, *, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Tell whether a folder holds an array of zarr, also one whose metadata are damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/a.zarr/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     store = open_place(f"{folder}/a.zarr")
    ...     print(is_array(store, "s0"), is_array(store, ""))
    True False
    """
    if store.has(join_key(key, ".zarray")):
        return True
    content = store.read(join_key(key, "zarr.json"), limits.metadata_bytes)
    if content is None:
        return False
    return parse_document(store.place(join_key(key, "zarr.json")), content, limits).get("node_type") == "array"
