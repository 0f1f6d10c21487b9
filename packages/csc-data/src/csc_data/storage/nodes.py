"""What the metadata files of a folder or URL say: an array or a group of zarr format 2 or 3, or of N5.

Only files of metadata are read, those of several nodes side by side, without zarr: over a network a volume of ten
levels is opened in two round trips, and an error of the network is never taken for something that is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.storage.paths import is_remote, join
from csc_data.storage.remote import list_names, read_files

Format = Literal["zarr 2", "zarr 3", "n5"]

_N5_ARRAY = {"dimensions", "blockSize", "dataType"}
_ZARR_FILES = (".zarray", ".zgroup", ".zattrs", "zarr.json")
_N5_FILE = "attributes.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An array or a group.

    Attributes
    ----------
    path : str
        Where it lies.
    format : {"zarr 2", "zarr 3", "n5"}
        Of its files.
    metadata : mapping or None
        Of an array; None for a group.
    attributes : mapping
        The user's attributes.
    """

    path: str
    format: Format
    metadata: Mapping[str, Any] | None
    attributes: Mapping[str, Any]

    @property
    def is_array(self) -> bool:
        """Whether it is an array, not a group."""
        return self.metadata is not None


def read_node(path: str, *, endpoint: str | None = None) -> Node:
    """Read the metadata of an array or group.

    Raises
    ------
    MissingDataError
        If there is none.
    UnreadableDataError
        If it cannot be read, or is damaged.
    """
    (node,) = read_nodes([path], endpoint=endpoint)
    if node is not None:
        return node
    if not is_remote(path) and not Path(path).exists():
        raise MissingDataError(f"{path} does not exist")
    files = ", ".join((*(name for name in _ZARR_FILES if name != ".zattrs"), _N5_FILE))
    raise MissingDataError(f"{path} holds no array or group of zarr or N5 (none of {files} is in it)")


def read_nodes(paths: Sequence[str], *, endpoint: str | None = None) -> list[Node | None]:
    """Read the metadata of arrays and groups on one file system; None where there is none.

    Raises
    ------
    UnreadableDataError
        If one cannot be read, or is damaged.
    """
    files = read_many([join(path, name) for path in paths for name in _ZARR_FILES], endpoint=endpoint)
    step = len(_ZARR_FILES)
    nodes = [
        _zarr_node(path, dict(zip(_ZARR_FILES, files[step * n : step * (n + 1)], strict=True)))
        for n, path in enumerate(paths)
    ]
    rest = [n for n, node in enumerate(nodes) if node is None]
    contents = read_many([join(paths[n], _N5_FILE) for n in rest], endpoint=endpoint)
    for n, content in zip(rest, contents, strict=True):
        nodes[n] = _n5_node(paths[n], content)
    return nodes


def _zarr_node(path: str, files: Mapping[str, bytes | None]) -> Node | None:
    """Understand the files of zarr; format 2 comes first where both are, as it is what we write."""
    if files[".zarray"] is not None:
        metadata = _parse(join(path, ".zarray"), files[".zarray"])
        return Node(
            path=path, format="zarr 2", metadata=metadata, attributes=_parse(join(path, ".zattrs"), files[".zattrs"])
        )
    if files[".zgroup"] is not None:
        return Node(
            path=path, format="zarr 2", metadata=None, attributes=_parse(join(path, ".zattrs"), files[".zattrs"])
        )
    if files["zarr.json"] is None:
        return None
    metadata = _parse(join(path, "zarr.json"), files["zarr.json"])
    attributes = metadata.get("attributes", {})
    if metadata.get("node_type") not in {"array", "group"} or not isinstance(attributes, dict):
        raise UnreadableDataError(f"{join(path, 'zarr.json')} describes neither an array nor a group")
    return Node(
        path=path,
        format="zarr 3",
        metadata=metadata if metadata["node_type"] == "array" else None,
        attributes=attributes,
    )


def _n5_node(path: str, content: bytes | None) -> Node | None:
    """Understand the file of N5 (https://github.com/saalfeldlab/n5): a group needs none if it has no attributes."""
    if content is None:
        return None
    metadata = _parse(join(path, _N5_FILE), content)
    return Node(
        path=path, format="n5", metadata=metadata if metadata.keys() >= _N5_ARRAY else None, attributes=metadata
    )


def _parse(path: str, content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        value = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreadableDataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableDataError(f"{path} holds {type(value).__name__} where a JSON object was expected")
    return value


def read_many(paths: Sequence[str], *, endpoint: str | None = None) -> list[bytes | None]:
    """Return the content of files, all local or all on one remote file system; None for those that are not there.

    Raises
    ------
    UnreadableDataError
        If one cannot be read.
    """
    if paths and is_remote(paths[0]):
        return read_files(paths, endpoint=endpoint)
    return [read_local(path) for path in paths]


def read_local(path: str) -> bytes | None:
    """Return the content of a local file; None if it is not there.

    Raises
    ------
    UnreadableDataError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - half the time of pathlib's, which counts for small chunks
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableDataError(f"{path} cannot be read: {error}") from error


def children(path: str, *, endpoint: str | None = None) -> list[Node]:
    """Return the arrays and groups right below a folder or URL, sorted by name.

    Raises
    ------
    MissingDataError
        If there is no such folder.
    UnreadableDataError
        If it cannot be listed, or metadata in it is damaged.
    """
    if is_remote(path):
        names = list_names(path, endpoint=endpoint)
    else:
        try:
            names = tuple(sorted(entry.name for entry in os.scandir(path) if entry.is_dir()))
        except FileNotFoundError as error:
            raise MissingDataError(f"{path} does not exist") from error
        except OSError as error:
            raise UnreadableDataError(f"{path} cannot be listed: {error}") from error
    names = tuple(name for name in names if not name.startswith(".") and not name.endswith(".json"))
    return [node for node in read_nodes([join(path, name) for name in names], endpoint=endpoint) if node is not None]
