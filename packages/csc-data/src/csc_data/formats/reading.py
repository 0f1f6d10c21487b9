"""Stored arrays, opened for reading: one way for all formats, folders, zips and URLs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from csc_data.errors import UnreadableDataError
from csc_data.formats.array_metadata import ArrayMetadata, parse_checked
from csc_data.formats.cache import ChunkCache
from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.storage.limits import DEFAULT_LIMITS, Limits
from csc_data.storage.nodes import Node, read_node
from csc_data.storage.stores.places import open_place

if TYPE_CHECKING:
    from csc_data.formats.ngff import LevelPlace


def parse_metadata(node: Node, *, limits: Limits = DEFAULT_LIMITS) -> ArrayMetadata:
    """Return the metadata of an array, checked.

    Raises
    ------
    UnreadableDataError
        If they are damaged, not supported, or ask for more than the limits allow; or if it is a group.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.nodes import read_node
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     parse_metadata(read_node(open_place(f"{folder}/s0"))).chunks
    (2, 2, 2)
    """
    if node.metadata is None:
        raise UnreadableDataError(f"{node.path} is a group where an array was expected")
    # Most processes meet one format: the others are not imported.
    if node.format == "zarr 2":
        from csc_data.formats.format2 import parse_format2

        return parse_checked(node, ".zarray", limits, parse_format2)
    if node.format == "zarr 3":
        from csc_data.formats.format3 import parse_format3

        return parse_checked(node, "zarr.json", limits, parse_format3)
    from csc_data.formats.n5 import parse_n5

    return parse_checked(node, "attributes.json", limits, parse_n5)


def open_chunks(
    node: Node, *, limits: Limits = DEFAULT_LIMITS, cache: ChunkCache | None = None, left_out: Sequence[int] = ()
) -> ChunkedArray:
    """Open an array whose metadata were read.

    Parameters
    ----------
    node : Node
        The array.
    limits : Limits
        What it may ask for.
    cache : ChunkCache, optional
        Where decoded chunks are kept; that of the process by default.
    left_out : sequence of int
        Axes that are to be left out, each of length 1.

    Raises
    ------
    UnreadableDataError
        If its metadata are damaged, not supported, or ask for more than the limits allow.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.nodes import read_node
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_array(f"{folder}/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))[...] = 7
    ...     int(open_chunks(read_node(open_place(f"{folder}/s0")))[...].sum())
    448
    """
    return ChunkedArray(find_chunks(node, limits=limits, left_out=left_out), node.attributes, cache)


def find_chunks(node: Node, *, limits: Limits = DEFAULT_LIMITS, left_out: Sequence[int] = ()) -> StoredChunks:
    """Return the chunks of an array whose metadata were read; see `open_chunks`."""
    metadata = parse_metadata(node, limits=limits)
    keep = [axis for axis in range(len(metadata.shape)) if axis not in left_out]
    return StoredChunks(
        store=node.store,
        folder=node.key,
        metadata=metadata,
        shape=tuple(metadata.shape[axis] for axis in keep),
        chunks=tuple(metadata.chunks[axis] for axis in keep),
        left_out=tuple(left_out),
    )


def open_level(
    node: Node, place: LevelPlace, *, limits: Limits = DEFAULT_LIMITS, cache: ChunkCache | None = None
) -> ChunkedArray:
    """Open the array of a level with the axes z, y, x; others are left out, and must be of length 1.

    Raises
    ------
    UnreadableDataError
        If one is longer, or as `open_chunks` does.
    """
    shape = parse_metadata(node, limits=limits).shape
    for axis, name in place.other_axes:
        if axis < len(shape) and shape[axis] != 1:
            raise UnreadableDataError(
                f"{node.path}: its axis {name!r} has {shape[axis]} entries, expected one: store a volume for each"
            )
    left_out = [axis for axis, _ in place.other_axes if axis < len(shape)]
    return open_chunks(node, limits=limits, cache=cache, left_out=left_out)


def open_array(path: str | os.PathLike[str], *, endpoint: str | None = None) -> ChunkedArray:
    """Open the array at a local path or an fsspec URL for reading; nothing is ever written.

    Parameters
    ----------
    path : path-like
        Local path or URL.
    endpoint : str, optional
        Address of the S3 service, where it is not that of the configuration.

    Raises
    ------
    MissingDataError
        If there is nothing at the path.
    UnreadableDataError
        If it is not an array, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.reading import open_array
    >>> from csc_data.formats.writing import create_array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_array(f"{folder}/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))[0] = 7
    ...     array = open_array(f"{folder}/s0")
    ...     print(array.shape, array.chunks, array[:2, 0, 0].tolist())
    (4, 4, 4) (2, 2, 2) [7, 0]
    """
    from csc_data.config.user_config import choose_endpoint

    return open_chunks(read_node(open_place(path, endpoint=choose_endpoint(path, endpoint))))
