"""Where voxels come from, box by box: stored arrays, which are read without trusting them, and arrays in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError, QuestionableDataError, UnreadableDataError
from csc_data.formats.array_metadata import ArrayMetadata
from csc_data.formats.cache import ENTRY_BYTES, ChunkCache
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.formats.codecs import KNOWN_CODECS
from csc_data.formats.decoders.one_pass import OnePass
from csc_data.formats.reading import find_chunks, parse_metadata
from csc_data.geometry import Triple, as_triple
from csc_data.storage.limits import Limits
from csc_data.storage.nodes import Node, read_nodes
from csc_data.storage.stores.places import Store

Shape = tuple[int, int, int]
Array = npt.NDArray[Any]

LIMITS = Limits(chunk_bytes=2 * 1024**3, chunks=4_000_000, metadata_bytes=16 * 1024**2, codecs=KNOWN_CODECS)
"""What a submission may ask of us.

2 GiB: a 1000^3 crop that somebody stored as one chunk of uint8 or uint16 still passes. To look for more chunks takes
longer than to score them. Shards are not read.
"""

_LONGEST_AXIS = 2**31

_OPTIONS = {
    "blosc": {"cname", "clevel", "shuffle", "blocksize"},
    "bz2": {"level"},
    "gzip": {"level"},
    "lz4": {"acceleration"},
    "lzma": {"format", "check", "preset", "filters"},
    "zlib": {"level"},
    "zstd": {"level", "checksum"},
}
"""What numcodecs takes for each compressor."""


class VoxelSource(Protocol):
    """Something that voxels can be read from, box by box: a stored array, or a view of one."""

    shape: Shape
    dtype: np.dtype[Any]
    chunks: Shape
    order: Literal["C", "F"]

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box within the shape, C-contiguous and in native byte order."""


def as_volume(values: npt.ArrayLike, name: str) -> Array:
    """Return what somebody handed in as a volume; lists that are nested three deep are one.

    Raises
    ------
    InvalidArgumentError
        If it has not three axes, no voxels, or holds anything but bool, integers or floats.

    Examples
    --------
    >>> as_volume([[[1, 0], [0, 1]]], "the truth").shape
    (1, 2, 2)
    """
    try:
        volume = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise InvalidArgumentError(f"{name} is not an array: {error}") from error
    if volume.ndim != 3 or not volume.size or volume.dtype.kind not in "biuf":
        raise InvalidArgumentError(
            f"{name} has the shape {volume.shape} and holds {volume.dtype}; expected three axes (z, y, x), one "
            "voxel at least, and bool, integers or floats"
        )
    return volume


def as_pair(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Array, Array]:
    """Return a truth and a prediction that somebody handed in as volumes.

    Raises
    ------
    InvalidArgumentError
        If one is not a volume of numbers, or their shapes differ.

    Examples
    --------
    >>> truth, prediction = as_pair([[[1, 0]]], [[[1, 1]]])
    >>> truth.shape == prediction.shape
    True
    """
    pair = as_volume(truth, "the truth"), as_volume(prediction, "the prediction")
    if pair[0].shape != pair[1].shape:
        raise InvalidArgumentError(
            f"the truth has the shape {pair[0].shape}, the prediction {pair[1].shape}; expected one shape"
        )
    return pair


def as_lengths(voxel_size: Sequence[float]) -> Triple:
    """Return a voxel size that somebody handed in.

    Raises
    ------
    InvalidArgumentError
        If it is not three lengths above 0.

    Examples
    --------
    >>> as_lengths([8, 4, 4])
    (8.0, 4.0, 4.0)
    >>> as_lengths([8, 4, 0])
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: voxel_size is (8.0, 4.0, 0.0); expected three lengths above 0, in nm (z, y, x)
    """
    lengths = as_triple(voxel_size, "voxel_size")
    if min(lengths) <= 0:
        raise InvalidArgumentError(f"voxel_size is {lengths}; expected three lengths above 0, in nm (z, y, x)")
    return lengths


class MemoryArray:
    """A source of voxels over an array in memory.

    Examples
    --------
    >>> MemoryArray(np.arange(8).reshape(2, 2, 2)).read((1, 0, 0), (2, 1, 2)).tolist()
    [[[4, 5]]]
    """

    def __init__(self, values: Array) -> None:
        fortran = values.flags.f_contiguous and not values.flags.c_contiguous
        self.values = values
        self.order: Literal["C", "F"] = "F" if fortran else "C"
        self.shape: Shape = values.shape
        self.dtype = values.dtype
        self.chunks: Shape = values.shape

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box."""
        box = tuple(map(slice, begin, end))
        return np.ascontiguousarray(self.values[box].astype(self.dtype.newbyteorder("="), copy=False))


class _ArrayCache(ChunkCache):
    """The chunks of one array: there are no others that a large read could drive out."""

    large_share = 1


class StoredArray:
    """A stored array of three axes.

    Parameters
    ----------
    node : Node
        Where it lies, and its metadata.
    cache_bytes : int
        How many bytes of decoded chunks to keep; one chunk is kept at least.
    left_out : sequence of int
        Axes of length 1 that are not z, y or x.

    Raises
    ------
    UnreadableDataError
        If its metadata are damaged, or describe something that is not a volume of numbers.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_array(f"{folder}/er", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))[0, 0, 0] = 7
    ...     array, _ = open_stored(open_place(folder), "er")
    ...     print(array.read((0, 0, 0), (1, 1, 2)).tolist(), array.take((2, 2, 2), (4, 4, 4)), array.count_chunks())
    [[[7, 0]]] None (1, 8)
    """

    def __init__(self, node: Node, *, cache_bytes: int = 0, left_out: Sequence[int] = ()) -> None:
        metadata = read_metadata(node, left_out)
        cache = _ArrayCache(max(cache_bytes, metadata.chunk_bytes + ENTRY_BYTES))
        chunks = find_chunks(node, limits=LIMITS, left_out=left_out)
        self._array = ChunkedArray(chunks, node.attributes, cache)
        self._one_pass = OnePass(chunks)
        self.where = node.path
        self.shape = _three(self._array.shape)
        self.chunks = _three(self._array.chunks)
        self.order = metadata.order
        self.dtype = self._array.dtype
        self.big_endian = metadata.stored.str.startswith(">")
        self.format = node.format
        self.refused_by_zarr = _refused_by_zarr(node)
        self._no_fill = node.format == "zarr 2" and (node.metadata or {}).get("fill_value") is None

    @property
    def array(self) -> ChunkedArray:
        """What it reads from, for those who want chunks."""
        return self._array

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Array:
        """Return the voxels of a box, not to be written to; chunks that are not there hold the fill value."""
        return self._array.read_box(begin, end)

    def take(self, begin: Sequence[int], end: Sequence[int]) -> Array | None:
        """Return the voxels of a box, None if all are 0; for who reads each box once, see `csc_eval.voxels.boxes`.

        What was returned before is written over, and only lines along x are contiguous.
        """
        sizes = zip(begin, end, self.chunks, self.shape, strict=True)
        whole = all(b % c == 0 and (e % c == 0 or e == n) for b, e, c, n in sizes)
        return self._one_pass.read(begin, end) if whole else self.read(begin, end)

    @property
    def is_undefined(self) -> bool:
        """Whether chunks are missing whose value nothing says; here they are 0."""
        if not self._no_fill:
            return False
        stored, total = self.count_chunks()
        return stored < total

    def count_chunks(self) -> tuple[int, int]:
        """Return how many chunks are stored, and how many there would be."""
        counts = (-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))
        indices = list(itertools.product(*map(range, counts)))
        return sum(stamp is not None for stamp in self._array.source.stamps(indices)), len(indices)


def _three(values: Sequence[int]) -> Shape:
    return values[0], values[1], values[2]


def read_metadata(node: Node, left_out: Sequence[int] = ()) -> ArrayMetadata:
    """Return the metadata of an array, once it is known that its voxels can be scored.

    Raises
    ------
    UnreadableDataError
        If they are damaged, or describe something that is not a volume of numbers.
    """
    if node.format == "n5":
        raise UnreadableDataError(f"{node.path} is N5; a submission is stored as zarr")
    metadata = parse_metadata(node, limits=LIMITS)
    sizes = [size for axis, size in enumerate(metadata.shape) if axis not in left_out]
    if len(sizes) != 3 or not all(0 < size < _LONGEST_AXIS for size in sizes):
        kind = QuestionableDataError if len(sizes) == 3 and 0 in sizes else UnreadableDataError
        raise kind(f"{node.path} has the shape {metadata.shape}; expected three axes (z, y, x)")
    return metadata


def _refused_by_zarr(node: Node) -> str:
    """Say what zarr 2 or numcodecs refuse in metadata that can be read; "" if nothing."""
    metadata = node.metadata or {}
    if node.format != "zarr 2":
        return ""
    if "filters" not in metadata:
        return "its .zarray says no filters (null where there are none)"
    compressor = metadata["compressor"]
    known = _OPTIONS.get(str(compressor["id"])) if isinstance(compressor, Mapping) else None
    surplus = set() if known is None else set(compressor) - {"id"} - known
    return f"its compressor has options that numcodecs does not know: {', '.join(sorted(surplus))}" if surplus else ""


def find_node(store: Store, key: str) -> Node | None:
    """Return the array or group in a folder; None if there is neither.

    Raises
    ------
    UnreadableDataError
        If its metadata are damaged.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find_node(open_place(folder), "crop1") is None
    True
    """
    return read_nodes(store, [key], limits=LIMITS)[0]


def open_stored(store: Store, key: str, *, cache_bytes: int = 0) -> tuple[StoredArray, Node]:
    """Open the array in a folder.

    Raises
    ------
    UnreadableDataError
        If there is none, or it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/er", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     array, node = open_stored(open_place(folder), "er")
    ...     print(array.shape, array.chunks, node.format)
    (4, 4, 4) (2, 2, 2) zarr 2
    """
    node = find_node(store, key)
    if node is None or not node.is_array:
        raise UnreadableDataError(f"{store.place(key)} holds no zarr array")
    return StoredArray(node, cache_bytes=cache_bytes), node
