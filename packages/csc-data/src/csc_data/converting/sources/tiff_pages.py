"""Boxes of TIFF pages: plain voxels by memory maps, of packed pages the strips or tiles that are needed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.converting.sources.source import Box
from csc_data.errors import UnreadableDataError
from csc_data.geometry import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainStack:
    """All voxels of a file, one after the other.

    Attributes
    ----------
    path : Path
    dtype : dtype
        With the file's order of bytes.
    offset : int
        Where they begin, in bytes.
    shape : tuple of int
    """

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: Shape

    def __call__(self, box: Box) -> npt.NDArray[Any]:
        """Read a box."""
        values = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(values[box], dtype=self.dtype.newbyteorder("="))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """One slice.

    Attributes
    ----------
    path : Path
        Its file.
    offsets, counts : sequence of int
        Where its strips or tiles lie, and their bytes.
    key : TiffPage
        Says how they are packed; its file may be closed.
    """

    path: Path
    offsets: Sequence[int]
    counts: Sequence[int]
    key: Any

    @property
    def parts(self) -> tuple[int, int]:
        """Height and width of its strips or tiles."""
        if self.key.is_tiled:
            return self.key.tilelength, self.key.tilewidth
        return max(1, min(self.key.rowsperstrip, self.key.imagelength)), self.key.imagewidth

    def read_into(self, out: npt.NDArray[Any], rows: slice, columns: slice) -> None:
        """Read a rectangle of the slice.

        Raises
        ------
        UnreadableDataError
            If it is damaged, or packed in a way that needs another package.
        """
        height, width = self.parts
        across = math.ceil(self.key.imagewidth / width)
        with self.path.open("rb") as file:
            for y in range(rows.start // height, math.ceil(rows.stop / height)):
                for x in range(columns.start // width, math.ceil(columns.stop / width)):
                    number = y * across + x
                    file.seek(self.offsets[number])
                    part = self._decode(file.read(self.counts[number]), number)
                    _paste(part, (y * height, x * width), out, (rows, columns))

    def _decode(self, content: bytes, number: int) -> npt.NDArray[Any]:
        tables = {} if self.key.jpegtables is None else {"jpegtables": self.key.jpegtables}
        try:
            values = self.key.decode(content, number, **tables)[0] if content else None
        except (ValueError, RuntimeError, zlib.error, EOFError) as error:
            raise UnreadableDataError(
                f"{self.path}: a slice cannot be unpacked: {error}; it is damaged, or `pip install imagecodecs` helps"
            ) from error
        if values is None:  # a part that was never written, which stands for zeros
            return np.zeros(self.parts, self.key.dtype)
        return np.asarray(values).reshape(values.shape[-3], values.shape[-2])


def _paste(part: npt.NDArray[Any], at: tuple[int, int], out: npt.NDArray[Any], window: tuple[slice, slice]) -> None:
    """Copy what a strip or tile has of a window."""
    cut, place = [], []
    for begin, size, wanted in zip(at, part.shape, window, strict=True):
        first, last = max(begin, wanted.start), min(begin + size, wanted.stop)
        cut.append(slice(first - begin, last - begin))
        place.append(slice(first - wanted.start, last - wanted.start))
    out[tuple(place)] = part[tuple(cut)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Slices that are stored one by one, in one file or in many."""

    pages: tuple[StoredPage, ...]
    dtype: np.dtype[Any]

    def __call__(self, box: Box) -> npt.NDArray[Any]:
        """Read a box."""
        depth, rows, columns = box
        out = np.zeros([part.stop - part.start for part in box], self.dtype)
        for number, values in zip(range(depth.start, depth.stop), out, strict=True):
            self.pages[number].read_into(values, rows, columns)
        return out


def stored_page(path: Path, page: Any, key: Any) -> StoredPage:
    """Return where a page of an open file lies."""
    return StoredPage(path=path, offsets=tuple(page.dataoffsets), counts=tuple(page.databytecounts), key=key)
