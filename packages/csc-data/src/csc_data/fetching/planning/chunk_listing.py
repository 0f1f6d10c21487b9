"""Which chunks of an array a box needs, and how to list just those in a bucket.

A raw volume has millions of chunks, a crop needs some hundred. S3 lists keys in their order, from a prefix or a start,
1,000 at a time: one asks for the rows or the planes that the box touches, whichever takes fewer requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csc_data.errors import UnreadableDataError
from csc_data.geometry import Shape, as_shape
from csc_data.storage.bucket import RemoteFile

Box = tuple[range, range, range]
"""Chunk indices of a box, z, y, x."""

_PAGE = 1000
_LONGEST_ROUND = 20  # pages of one listing come one after the other, listings side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLayout:
    """What of an array's metadata (zarr format 2) tells where its chunks are.

    Attributes
    ----------
    name : str
        Of the level, relative to its group.
    shape, chunks : tuple of int
        In voxels.
    separator : str
        Between the indices in a chunk's key, "/" or ".".
    itemsize : int
        Bytes of a voxel.

    Examples
    --------
    >>> array = ChunkLayout(name="s0", shape=(100, 100, 100), chunks=(64, 64, 64), separator="/", itemsize=1)
    >>> box = array.box((0, 0, 70), (10, 10, 10))
    >>> box, array.holds(box, "s0/0/0/1"), array.holds(box, "s0/0/0/0"), array.index("s0/.zarray")
    ((range(0, 1), range(0, 1), range(1, 2)), True, False, None)
    >>> array.most_bytes(box)
    272957
    """

    name: str
    shape: Shape
    chunks: Shape
    separator: str
    itemsize: int = 8

    @classmethod
    def parse(cls, place: str, name: str, metadata: Any) -> ChunkLayout:
        """Read the contents of ``.zarray``.

        Raises
        ------
        UnreadableDataError
            If it is not an array of three dimensions.

        Examples
        --------
        >>> metadata = {"shape": [100, 100, 100], "chunks": [64, 64, 64], "dimension_separator": "/", "dtype": "|u1"}
        >>> ChunkLayout.parse("s3://bucket/raw/s0", "s0", metadata)
        ChunkLayout(name='s0', shape=(100, 100, 100), chunks=(64, 64, 64), separator='/', itemsize=1)
        """
        try:
            shape, chunks = as_shape(metadata["shape"]), as_shape(metadata["chunks"])
            separator = metadata.get("dimension_separator", ".")
            size = re.fullmatch(r"[<>|][a-z](\d{1,3})", str(metadata.get("dtype")))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UnreadableDataError(f"{place}: .zarray is not that of a three-dimensional array: {error}") from error
        if separator not in {"/", "."} or min(chunks) < 1:
            raise UnreadableDataError(f"{place}: .zarray has the separator {separator!r} and chunks of {chunks}")
        itemsize = int(size[1]) if size else 8
        return cls(name=name, shape=shape, chunks=chunks, separator=separator, itemsize=itemsize)

    @property
    def counts(self) -> Shape:
        """Chunks per axis."""
        return as_shape([math.ceil(n / c) for n, c in zip(self.shape, self.chunks, strict=True)])

    def box(self, begin: Sequence[int], shape: Sequence[int]) -> Box:
        """Return the chunks that a box of voxels touches; it may reach beyond the array.

        >>> array = ChunkLayout(name="s0", shape=(100, 100, 100), chunks=(64, 64, 64), separator="/")
        >>> array.box((-5, 64, 10), (20, 36, 0))
        (range(0, 1), range(1, 2), range(0, 0))
        """
        z, y, x = (
            range(max(b, 0) // c, math.ceil(min(b + n, size) / c)) if n > 0 and b < size and b + n > 0 else range(0)
            for b, n, size, c in zip(begin, shape, self.shape, self.chunks, strict=True)
        )
        return z, y, x

    def most_bytes(self, box: Box) -> int:
        """Return what the chunks of a box take on a disk at most, as if nothing of them could be compressed."""
        # Compressors add a header to what does not shrink, and a file takes whole blocks.
        return math.prod(map(len, box)) * (math.prod(self.chunks) * self.itemsize * 101 // 100 + 8192)

    def holds(self, box: Box, name: str) -> bool:
        """Tell whether a file of the group is a chunk of this array in a box."""
        index = self.index(name)
        return index is not None and all(i in along for i, along in zip(index, box, strict=True))

    def index(self, name: str) -> tuple[int, int, int] | None:
        """Return the index of the chunk with that name in the group; None for other files."""
        if not name.startswith(f"{self.name}/"):
            return None
        parts = name[len(self.name) + 1 :].split(self.separator)
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            return None
        return int(parts[0]), int(parts[1]), int(parts[2])


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing: all below ``folder`` whose names begin with ``begin``, both relative to the group."""

    folder: str
    begin: str = ""


def listings_for(array: ChunkLayout, boxes: Iterable[Box]) -> set[Listing]:
    """Return the listings that together hold every chunk of the boxes, few of them and none long.

    Examples
    --------
    >>> array = ChunkLayout(name="s0", shape=(100, 100, 100), chunks=(64, 64, 64), separator="/")
    >>> listings_for(array, [array.box((0, 0, 0), (10, 10, 10))])
    {Listing(folder='s0/0/0', begin='')}
    """
    touched = [box for box in boxes if all(box)]
    rows = {(z, y) for box in touched for z in box[0] for y in box[1]}
    planes = {z for z, _ in rows}
    _, n_y, n_x = array.counts
    ways = [
        (_pages(n_x), {_listing(array, f"{z}{array.separator}{y}") for z, y in rows}),
        (_pages(n_y * n_x), {_listing(array, str(z)) for z in planes}),
        (_pages(math.prod(array.counts)), {Listing(array.name)} if rows else set()),
    ]
    # The finest way is always taken into account, so that there is one.
    fitting = [ways[0], *(way for way in ways[1:] if way[0] <= _LONGEST_ROUND)]
    return min(fitting, key=lambda way: way[0] * len(way[1]))[1]


def _pages(keys: int) -> int:
    return max(1, math.ceil(keys / _PAGE))


def _listing(array: ChunkLayout, indices: str) -> Listing:
    if array.separator == "/":
        return Listing(f"{array.name}/{indices}")
    return Listing(array.name, f"{indices}.")


def chunks_in(box: Box, listed: Mapping[tuple[int, int], Sequence[tuple[int, RemoteFile]]]) -> Iterator[RemoteFile]:
    """Yield the files of the chunks in a box, of those listed by row."""
    for z in box[0]:
        for y in box[1]:
            for x, file in listed.get((z, y), ()):
                if x in box[2]:
                    yield file
