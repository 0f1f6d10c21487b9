"""What becomes of the values: grey values as uint8, ids of classes as a mask for each, ids of objects as they are.

What is stored is looked at first, in blocks, so that nothing is written of values that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid
from csc_data.converting.sources.source import Source
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.geometry import Shape
from csc_data.volumes.annotation_values import UNKNOWN
from csc_data.wording import listed

Progress = Callable[[int, int], None]

PERCENTILES = (0.1, 99.9)
CHUNK = 64
_BLOCK_BYTES = 64 << 20
_BINS = 1 << 16
_MOST_VALUES = 1000


class Encoder(Protocol):
    """Makes what is stored of what is read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what is stored."""
        ...

    def __call__(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the arrays to store, one for each volume."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyValues:
    """Grey values as uint8.

    Attributes
    ----------
    low, high : float
        What becomes 0 and 255; 0 and 255 leave uint8 as it is.
    """

    low: float
    high: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def __call__(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Scale, and cut off what lies beyond.

        >>> GreyValues(low=100, high=200)(np.array([0, 100, 150, 300]))[0].tolist()
        [0, 0, 128, 255]
        """
        if values.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return [values]
        # Subtracted as float64: uint16 would wrap around, and large numbers lose digits in float32.
        share = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return [np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMasks:
    """A mask for each class from values that stand for classes: 0 absent, 1 present, 255 unknown."""

    values: tuple[tuple[int, ...], ...]
    unknown: int | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def __call__(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the masks.

        >>> ClassMasks(values=((1,), (2, 3)), unknown=9)(np.array([0, 1, 3, 9]))[1].tolist()
        [0, 0, 1, 255]
        """
        masks = [np.isin(values, chosen).astype(np.uint8) for chosen in self.values]
        if self.unknown is not None:
            for mask in masks:
                mask[values == self.unknown] = UNKNOWN
        return masks


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectIds:
    """Ids as they are, in the smallest type that holds them.

    Attributes
    ----------
    kind : str
        Name of the type.
    unknown : int, optional
        What is read for unknown voxels.
    stored_unknown : int, optional
        What is stored for them.
    """

    kind: str
    unknown: int | None = None
    stored_unknown: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type."""
        return np.dtype(self.kind)

    def __call__(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the ids."""
        if self.unknown is None:
            return [values.astype(self.dtype)]
        unknown = values == self.unknown
        ids = np.where(unknown, 0, values).astype(self.dtype)
        ids[unknown] = self.stored_unknown
        return [ids]


def reading_blocks(source: Source) -> BlockGrid:
    """Return blocks of whole chunks that take some 64 MB: as wide as can be, as slices are stored row by row.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.converting.sources.opening import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "stack.npy"), np.ones((200, 5, 6), np.uint8))
    ...     [block.shape for block in reading_blocks(open_source(Path(folder, "stack.npy")))]
    [(64, 5, 6), (64, 5, 6), (64, 5, 6), (8, 5, 6)]
    """
    voxels = _BLOCK_BYTES // max(1, source.dtype.itemsize)
    depth, height, width = (-(-n // CHUNK) * CHUNK for n in source.shape)
    x = min(width, max(CHUNK, voxels // CHUNK**2 // CHUNK * CHUNK))
    y = min(height, max(CHUNK, voxels // (CHUNK * x) // CHUNK * CHUNK))
    block: Shape = (min(depth, CHUNK), y, x)
    return BlockGrid(shape=source.shape, block_shape=block)


def read_all(source: Source, progress: Progress | None = None) -> Iterator[npt.NDArray[Any]]:
    """Yield all values, block by block.

    Raises
    ------
    UnreadableDataError
        If one is NaN or infinite; with its place.
    """
    blocks = reading_blocks(source)
    for number, block in enumerate(blocks, start=1):
        values = source.read(block.write)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            where = np.argwhere(~np.isfinite(values))[0] + np.array(block.begin)
            raise UnreadableDataError(
                f"{source.name} holds NaN or infinity, first at voxel {','.join(map(str, where))} (z, y, x); put a "
                "number there"
            )
        yield values
        if progress is not None:
            progress(number, len(blocks))


def choose_grey_values(
    source: Source, given: tuple[float, float] | None = None, progress: Progress | None = None
) -> tuple[GreyValues, str]:
    """Choose how grey values become uint8, and say it.

    Parameters
    ----------
    source : Source
    given : (float, float), optional
        What becomes 0 and 255. By default uint8 stays as it is, and of other types percentiles 0.1 and 99.9 are taken.
    progress : callable, optional
        Called with (blocks looked at, all).

    Raises
    ------
    InvalidArgumentError
        If the range is empty.
    UnreadableDataError
        If a value is NaN or infinite.
    """
    if given is not None:
        low, high = given
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InvalidArgumentError(f"--range {low:g},{high:g} is empty; give the values that become 0 and 255")
        if source.dtype.kind == "f":
            for _ in read_all(source, progress):
                pass
        words = f"values from {low:g} to {high:g} become 0 to 255"
    elif source.dtype == np.uint8:
        return GreyValues(low=0, high=255), "values stay as they are (uint8)"
    else:
        low, high = _percentiles(source, progress)
        words = (
            f"values from {low:g} to {high:g} (percentiles {PERCENTILES[0]} and {PERCENTILES[1]}) become 0 to 255; "
            "--range chooses others"
        )
    return GreyValues(low=low, high=high), f"{source.dtype} values: {words}"


def _percentiles(source: Source, progress: Progress | None) -> tuple[float, float]:
    """Return percentiles of all voxels, to a 65,536th of the range."""
    least, most = _extremes(source, progress)
    if least == most:
        return least, least + 1
    counts = np.zeros(_BINS, np.int64)
    for values in read_all(source, progress):
        share = (values.astype(np.float64) - least) / (most - least)
        counts += np.bincount(np.rint(share * (_BINS - 1)).astype(np.int64).ravel(), minlength=_BINS)
    reached = np.cumsum(counts) / counts.sum()
    bins = [int(np.searchsorted(reached, percentile / 100)) for percentile in PERCENTILES]
    low, high = (least + bin_ / (_BINS - 1) * (most - least) for bin_ in bins)
    return (low, high) if low < high else (least, most)


def _extremes(source: Source, progress: Progress | None) -> tuple[float, float]:
    if source.dtype.kind == "b":
        return 0.0, 1.0
    least, most = math.inf, -math.inf
    for values in read_all(source, progress):
        least, most = min(least, float(values.min())), max(most, float(values.max()))
    return least, most


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFacts:
    """What labels hold: the largest value, and the values as long as they are few (None where they are not)."""

    most: int
    values: frozenset[int] | None


def look_at_labels(source: Source, unknown: int | None = None, progress: Progress | None = None) -> LabelFacts:
    """Check that labels are whole numbers of at least 0, but for the one for unknown, and see which there are.

    Raises
    ------
    UnreadableDataError
        If they are not.
    """
    most, few = 0, True
    found: set[int] = set()
    for values in read_all(source, progress):
        if values.dtype.kind == "f" and (values != np.floor(values)).any():
            broken = values[values != np.floor(values)][0]
            raise UnreadableDataError(f"{source.name} holds {broken:g}; labels are whole numbers (is it raw?)")
        present = np.unique(values) if few else values.ravel()
        if unknown is not None:
            present = present[present != unknown]
        if not present.size:
            continue
        if present.min() < 0:
            raise UnreadableDataError(
                f"{source.name} holds {int(present.min())}; labels are at least 0 (if it stands for unknown voxels: "
                f"--unknown {int(present.min())})"
            )
        most = max(most, int(present.max()))
        if few:
            found.update(int(value) for value in present)
            few = len(found) <= _MOST_VALUES
    return LabelFacts(most=most, values=frozenset(found) if few else None)


def choose_ids(source: Source, facts: LabelFacts, unknown: int | None = None) -> ObjectIds:
    """Choose the type in which ids are stored; unknown voxels get the largest number of it.

    Raises
    ------
    UnreadableDataError
        If ids are too large to be told apart as floats.
    """
    if source.dtype.kind == "f" and facts.most >= 2 ** (np.finfo(source.dtype).nmant + 1):
        raise UnreadableDataError(f"{source.name} holds ids up to {facts.most} as {source.dtype}, which is not exact")
    kind = np.min_scalar_type(facts.most + (unknown is not None))
    stored = None if unknown is None else int(np.iinfo(kind).max)
    return ObjectIds(kind=kind.name, unknown=unknown, stored_unknown=stored)


def describe_classes(facts: LabelFacts, chosen: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Say which values no class has, and which classes are not there.

    Examples
    --------
    >>> describe_classes(LabelFacts(most=7, values=frozenset({0, 1, 7})), {"nuc": (1,), "mito": (2,)})
    ['the value 7 belongs to no class, and counts as absent', 'not a voxel is mito']
    """
    if facts.values is None:
        return ["there are more than 1,000 values in the labels; those that no class has count as absent"]
    named = {value for values in chosen.values() for value in values}
    others = sorted(facts.values - named - {0})
    absent = [name for name, values in chosen.items() if not facts.values & set(values)]
    said = [f"the values {listed(others)} belong to no class, and count as absent"] if others else []
    if len(others) == 1:
        said = [f"the value {others[0]} belongs to no class, and counts as absent"]
    return said + ([f"not a voxel is {listed(absent)}"] if absent else [])
