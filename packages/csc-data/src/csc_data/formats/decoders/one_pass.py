"""An array read in one pass: each chunk once, nothing kept, and nothing unpacked for chunks that hold only zeros."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.formats.array_metadata import ArrayMetadata
from csc_data.formats.cache import Chunk
from csc_data.formats.chunk_files import StoredChunks, decode_chunk
from csc_data.formats.chunked_array import copy_rows
from csc_data.formats.decoders.libraries import Bytes

_SUSPICIOUS = 200
"""A chunk that was packed so many times smaller may hold nothing but zeros; LZ4 makes them 240 times smaller."""

_SAMPLED = 1021


class OnePass:
    """Reads boxes of whole chunks, all into the same memory: fresh memory costs as much as decoding into it.

    Parameters
    ----------
    source : StoredChunks
        The array.
    """

    def __init__(self, source: StoredChunks) -> None:
        self.source = source
        self._memory: Bytes | None = None
        self._zeros: bytes | None = None

    def read(self, begin: Sequence[int], end: Sequence[int]) -> npt.NDArray[Any] | None:
        """Return the voxels of a box that begins and ends with chunks, or with the array; None if all are 0.

        Rows along the last axis are contiguous. It is not to be written to, and the next call writes over it.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged, or cannot be read.
        """
        size = self.source.chunks
        spans = [range(b // c, -(-e // c)) for b, e, c in zip(begin, end, size, strict=True)]
        indices = list(itertools.product(*spans))
        whole: npt.NDArray[Any] | None = None
        for number, chunk in self.source.load(indices, self._decode):
            values = self._missing() if chunk is None else chunk
            if values is None:
                continue
            if len(indices) == 1:
                return values[tuple(slice(e - b) for b, e in zip(begin, end, strict=True))]
            if whole is None:
                whole = np.zeros([e - b for b, e in zip(begin, end, strict=True)], self.source.dtype)
            low = [i * c - b for i, c, b in zip(indices[number], size, begin, strict=True)]
            target = whole[tuple(slice(b, b + c) for b, c in zip(low, size, strict=True))]
            copy_rows(target, values[tuple(map(slice, target.shape))])
        return whole

    def _missing(self) -> npt.NDArray[Any] | None:
        fill = self.source.fill
        return None if fill == 0 else np.full(self.source.chunks, fill, self.source.dtype)

    def _decode(self, metadata: ArrayMetadata, content: bytes) -> Chunk:
        if content == self._zeros:
            return None
        if self._memory is None:
            self._memory = np.empty(metadata.chunk_bytes, np.uint8)
        values = decode_chunk(metadata, content, self._memory)
        # What holds nothing is packed to the same bytes everywhere in an array.
        if metadata.fill == 0 and len(content) * _SUSPICIOUS < values.nbytes and _is_zero(values):
            self._zeros = content
            return None
        return values


def _is_zero(values: npt.NDArray[Any]) -> bool:
    stored = values.reshape(-1).view(np.uint8)
    # Most chunks that are not empty are told by a few of their bytes.
    return not stored[::_SAMPLED].any() and not stored.max()
