"""A coarser level for volumes that have one alone, made chunk by chunk as it is looked at.

Seen as a whole, a volume of 1000^3 voxels would send all of its finest chunks that three planes touch, for views of 400
pixels. Its coarser level has a 64th of the voxels. There is only one, as a viewer draws all levels that are coarser
than what it wants first: a coarser one yet would have the whole volume read before the first fine chunk is sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.cache import Chunk, ChunkCache, passing_through
from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.chunked_array import ChunkedArray, Index
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.storage.stores.places import UrlStore
from csc_data.view.layers import Layer
from csc_data.volumes import Level, downsampled_grid
from csc_data.volumes.pyramid import merge

FACTOR = 4  # along each axis
_LEAST = 256  # voxels along the longest axis: what is smaller is seen as a whole by its finest level
_CHUNK = 64
_CACHE = ChunkCache(1 << 26)  # of all volumes together


def levels_to_show(layer: Layer) -> tuple[Level, ...]:
    """Return the levels of a layer's volume, and a coarser one where there is only one and it is large.

    None is made of what would be fetched over a network, nor of what is computed as it is read.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> large = array_layer(np.zeros((1, 4096, 4), np.uint8), "raw", "raw", voxel_size=(8, 8, 8))
    >>> [level.name for level in levels_to_show(large)]
    ['s0', 'overview']
    """
    levels = layer.volume.levels
    finest = levels[0]
    if len(levels) > 1 or max(finest.grid.shape) <= _LEAST or not _is_at_hand(finest.array):
        return levels
    factors = as_shape([min(FACTOR, n) for n in finest.grid.shape])
    source = MergedChunks(
        finer=finest.array, name=layer.volume.path, factors=factors, averaged=layer.kind in ("raw", "probability")
    )
    coarse = downsampled_grid(finest.grid, factors)
    grid = Grid(voxel_size=coarse.voxel_size, translation=coarse.translation, shape=source.shape)
    return finest, Level(name="overview", grid=grid, array=ChunkedArray(source, {}, _CACHE))


def with_overview(layer: Layer) -> Layer:
    """Return a layer with the levels of `levels_to_show`.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> small = array_layer(np.zeros((4, 4, 4), np.uint8), "raw", "raw", voxel_size=(8, 8, 8))
    >>> len(with_overview(small).volume.levels)
    1
    """
    return replace(layer, volume=replace(layer.volume, levels=levels_to_show(layer)))


def _is_at_hand(array: Any) -> bool:
    source = getattr(array, "source", None)
    return isinstance(array, np.ndarray) or (
        isinstance(source, StoredChunks) and not isinstance(source.store, UrlStore)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MergedChunks:
    """Chunks of which each voxel stands for a block of voxels of a finer array.

    Numbers are averaged. Of labels the largest is taken: what is thin is seen from afar, too, and no label is made up.

    Attributes
    ----------
    finer : ChunkedArray or ndarray
        (z, y, x).
    name : str
        Of the volume, for messages.
    factors : tuple of int
        Voxels of a block per axis.
    averaged : bool
        Whether these are numbers, not labels.
    """

    finer: Any
    name: str
    factors: Shape
    averaged: bool
    _number: int = field(default_factory=itertools.count().__next__)

    @property
    def path(self) -> str:
        """Where the finer array lies."""
        return self.name

    @property
    def key(self) -> Hashable:
        """What tells it from every other one: a stored array by its place, one in memory by itself."""
        source = getattr(self.finer, "source", None)
        return "overview", self._number if source is None else source.key, self.factors, self.averaged

    @property
    def shape(self) -> Shape:
        """Voxels per axis; the last block of an axis may be cut short."""
        return as_shape([-(-n // f) for n, f in zip(self.finer.shape, self.factors, strict=True)])

    @property
    def chunks(self) -> Shape:
        """Voxels of a chunk per axis."""
        return as_shape([min(_CHUNK, n) for n in self.shape])

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the finer array."""
        dtype: np.dtype[Any] = np.dtype(self.finer.dtype)
        return dtype

    @property
    def fill(self) -> int:
        """Of chunks under which nothing is stored."""
        return 0

    def load(self, wanted: Sequence[Index]) -> Iterator[tuple[int, Chunk]]:
        """Give chunks, merged; what is read for them is not held."""
        deep = max(1, getattr(self.finer, "chunks", self.chunks)[0] // self.factors[0])
        for number, index in enumerate(wanted):
            z, y, x = self._box(index)
            chunk = np.zeros(self.chunks, self.dtype)
            for begin in range(0, self.chunks[0], deep):  # all at once would be 64 times as large as the chunk
                slab = slice(z.start + begin * self.factors[0], min(z.stop, z.start + (begin + deep) * self.factors[0]))
                if slab.start < slab.stop:
                    merged = self._merged((slab, y, x))
                    chunk[tuple(slice(b, b + n) for b, n in zip((begin, 0, 0), merged.shape, strict=True))] = merged
            yield number, chunk

    def stamps(self, wanted: Sequence[Index]) -> list[Hashable]:
        """Return the states of the files under each chunk: a run that is looked at goes on writing."""
        source = getattr(self.finer, "source", None)
        if source is None:
            return [None] * len(wanted)
        return [tuple(source.stamps(self._under(index, source.chunks))) for index in wanted]

    def _merged(self, box: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        with passing_through():
            values = np.asarray(self.finer[box])
        return merge(values, self.factors, "mean") if self.averaged else _largest(values, self.factors)

    def _box(self, index: Index) -> tuple[slice, slice, slice]:
        """Return what a chunk stands for."""
        begin = [i * c * f for i, c, f in zip(index, self.chunks, self.factors, strict=True)]
        end = [b + c * f for b, c, f in zip(begin, self.chunks, self.factors, strict=True)]
        z, y, x = (slice(b, min(e, n)) for b, e, n in zip(begin, end, self.finer.shape, strict=True))
        return z, y, x

    def _under(self, index: Index, chunks: Shape) -> list[Index]:
        spans = [range(s.start // c, -(-s.stop // c)) for s, c in zip(self._box(index), chunks, strict=True)]
        return list(itertools.product(*spans))


def _largest(values: npt.NDArray[Any], factors: Shape) -> npt.NDArray[Any]:
    """Return the largest value of each block.

    >>> _largest(np.array([[[0, 7, 3, 1, 2]]]), (1, 1, 2)).tolist()
    [[[7, 3, 2]]]
    """
    for axis, factor in enumerate(factors):
        largest = np.moveaxis(values, axis, 0)[::factor].copy()
        for number in range(1, factor):  # a strided pass for each is forty times as fast as reduceat
            other = np.moveaxis(values, axis, 0)[number::factor]
            np.maximum(largest[: len(other)], other, out=largest[: len(other)])
        values = np.moveaxis(largest, 0, axis)
    return values
