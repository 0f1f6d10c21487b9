"""Stored arrays that are read chunk by chunk, through the shared cache; from disk or side by side over a network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import Chunk, ChunkCache, shared_cache

Index = tuple[int, ...]
"""Number of a chunk along each axis."""


class ChunkSource(Protocol):
    """What knows how chunks of one array are stored; to be pickled and used in any thread and process."""

    @property
    def path(self) -> str:
        """Where the array lies."""
        ...

    @property
    def key(self) -> Hashable:
        """What tells this array from every other one."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per axis."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of a chunk per axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type in memory."""
        ...

    @property
    def fill(self) -> Any:
        """Value of chunks that are not stored."""
        ...

    def load(self, wanted: Sequence[Index]) -> Iterable[tuple[int, Chunk]]:
        """Give decoded chunks of the full chunk shape with their number in ``wanted``, in any order."""
        ...

    def stamps(self, wanted: Sequence[Index]) -> list[Any]:
        """Return, for each chunk, what changes when the stored chunk does, if that can be known cheaply."""
        ...


class ChunkedArray:
    """A stored array, read-only; slices are read as from a zarr array.

    Parameters
    ----------
    source : ChunkSource
        How its chunks are stored.
    attributes : mapping
        The user's attributes.
    cache : ChunkCache, optional
        Where decoded chunks are kept; that of the process by default.
    """

    def __init__(self, source: ChunkSource, attributes: Mapping[str, Any], cache: ChunkCache | None = None) -> None:
        self.source = source
        self.attrs = dict(attributes)
        self._cache = cache
        self._key = repr(source.key)  # text knows its hash, which is asked for with each chunk

    def __reduce__(self) -> tuple[type[ChunkedArray], tuple[ChunkSource, dict[str, Any], ChunkCache | None]]:
        return type(self), (self.source, self.attrs, self._cache)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source.path} {self.shape} {self.dtype}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per axis."""
        return self.source.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of a chunk per axis."""
        return self.source.chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in the byte order of this machine."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.source.shape)

    def __len__(self) -> int:
        return self.source.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a stored array cannot be had without a copy of it in memory")
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __getitem__(self, selection: Any) -> npt.NDArray[Any]:
        """Read slices and indices as numpy has them; steps are above 0.

        Raises
        ------
        IndexError
            If the selection is of another kind, or out of range.
        UnreadableDataError
            If a chunk cannot be read.
        """
        begin, end, after = _understand(selection, self.shape)
        values: npt.NDArray[Any] = self._read_box(begin, end)[after]
        return values

    def read_box(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any]:
        """Read a box that lies within the array, C-contiguous and not to be written to: a whole chunk is not copied.

        Examples
        --------
        >>> import tempfile
        >>> from csc_data.formats.reading import open_array
        >>> from csc_data.formats.writing import create_array
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     create_array(f"{folder}/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))[...] = 7
        ...     open_array(f"{folder}/s0").read_box((0, 0, 1), (1, 1, 4)).tolist()
        [[[7, 7, 7]]]
        """
        if all(e - b == c and b % c == 0 for b, e, c in zip(begin, end, self.chunks, strict=True)):
            index = tuple(b // c for b, c in zip(begin, self.chunks, strict=True))
            # Whoever reads whole chunks does not come back for them: they are not kept.
            ((_, chunk),) = self._chunks([index], keep=False)
            if chunk is not None:
                return chunk
        return self._read_box(tuple(begin), tuple(end))

    def _chunks(self, indices: list[Index], *, keep: bool) -> Iterator[tuple[int, Chunk]]:
        cache, key, source = self._cache or shared_cache(), self._key, self.source
        return cache.chunks(
            [((key, index), stamp) for index, stamp in zip(indices, source.stamps(indices), strict=True)],
            lambda numbers: _renumber(source.load([indices[n] for n in numbers]), numbers),
            keep=keep,
        )

    def _read_box(self, begin: tuple[int, ...], end: tuple[int, ...]) -> npt.NDArray[Any]:
        out = np.empty(tuple(e - b for b, e in zip(begin, end, strict=True)), dtype=self.dtype)
        if out.size == 0:
            return out
        size = self.chunks
        spans = [range(b // c, -(-e // c)) for b, e, c in zip(begin, end, size, strict=True)]
        indices = list(itertools.product(*spans))
        overlaps = [_overlaps(s, b, e, c) for s, b, e, c in zip(spans, begin, end, size, strict=True)]
        targets = list(itertools.product(*(inside for inside, _ in overlaps)))
        origins = list(itertools.product(*(within for _, within in overlaps)))
        decoded = len(indices) * math.prod(size) * self.dtype.itemsize
        for number, chunk in self._chunks(indices, keep=(self._cache or shared_cache()).takes(decoded)):
            target = out[targets[number]]
            if chunk is None:
                target[...] = self.source.fill
            else:
                copy_rows(target, chunk[origins[number]])
        return out


def copy_rows(target: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
    """Copy values into an array of the same shape and dtype, both contiguous along their last axis.

    Rows are moved as if each were one element: for rows of 64 bytes numpy takes half the time.

    Examples
    --------
    >>> target = np.zeros((2, 3), np.uint8)
    >>> copy_rows(target, np.arange(6, dtype=np.uint8).reshape(2, 3))
    >>> target.tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    if target.ndim == 0:
        target[...] = values
        return
    row = f"V{target.shape[-1] * target.itemsize}"
    target.view(row)[...] = values.view(row)


def _renumber(loaded: Iterable[tuple[int, Chunk]], numbers: list[int]) -> Iterator[tuple[int, Chunk]]:
    for position, chunk in loaded:
        yield numbers[position], chunk


def _overlaps(span: range, begin: int, end: int, size: int) -> tuple[list[slice], list[slice]]:
    """Return, for each chunk along an axis, its part of the box, and the part of it that is in the box."""
    inside, within = [], []
    for number in span:
        low, high = max(begin, number * size), min(end, (number + 1) * size)
        inside.append(slice(low - begin, high - begin))
        within.append(slice(low - number * size, high - number * size))
    return inside, within


def _understand(selection: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...]]:
    """Turn a selection into a box without steps and what remains to be selected of that."""
    parts = list(selection) if isinstance(selection, tuple) else [selection]
    gaps = [n for n, part in enumerate(parts) if part is Ellipsis]
    if len(gaps) > 1 or len(parts) - len(gaps) > len(shape):
        raise IndexError(f"{selection!r} does not select from an array of {len(shape)} axes")
    for at in gaps:
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    begin: list[int] = []
    end: list[int] = []
    after: list[slice | int] = []
    for part, size in zip(parts, shape, strict=True):
        if isinstance(part, slice):
            first, last, step = part.indices(size)
            if step < 1:
                raise IndexError(f"a step of {step} cannot be read, expected one above 0")
            begin.append(first)
            end.append(max(first, last))
            after.append(slice(None, None, step) if step != 1 else slice(None))
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            if not -size <= part < size:
                raise IndexError(f"index {part} is out of range for an axis of {size}")
            begin.append(int(part) % size)
            end.append(int(part) % size + 1)
            after.append(0)
        else:
            raise IndexError(f"{part!r} cannot be selected of a stored array, expected slices or indices")
    return tuple(begin), tuple(end), tuple(after)
