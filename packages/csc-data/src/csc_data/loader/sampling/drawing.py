"""Drawing which crop a patch comes from, and a voxel of a class that it must hold, so that rare classes are seen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.loader.sampling.count_cache import counts_key, find_counts, keep_counts
from csc_data.loader.sampling.counts import ClassCounts, CropCounts, count_classes, count_crop, find_voxel
from csc_data.loader.sources.holding.regions import RegionCache
from csc_data.loader.sources.label_source import LabelSource
from csc_data.loader.sources.raw_source import RawSource
from csc_data.splits.annotations import AnnotatedCrop


class CropReader(Protocol):
    """What draws must know of a reader of patches."""

    @property
    def crops(self) -> Sequence[AnnotatedCrop]:
        """The crops that patches come from."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The classes of the targets."""
        ...

    @property
    def regions(self) -> RegionCache:
        """Holds what patches are gathered from."""
        ...

    @property
    def excludes(self) -> Mapping[str, tuple[int, ...]]:
        """The numbers of the classes that make a voxel a known 0 of a class."""
        ...

    def grid(self, crop: int) -> Grid:
        """Return the grid of a whole crop at the voxel size of the targets."""
        ...

    def sources(self, crop: int) -> tuple[RawSource, LabelSource]:
        """Return what patches of a crop are gathered from."""
        ...


MOST_CROPS_HELD = 16
"""Crops of which a process holds the counts of all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a patch is drawn for.

    Attributes
    ----------
    crop : int
        Its number in the reader.
    channel : int or None
        The class of which the patch must hold a voxel; None for any place.
    """

    crop: int
    channel: int | None


class AnchorDraws:
    """Draws a crop, and where a class is wanted, one of its voxels there.

    Parameters
    ----------
    reader : CropReader
    foreground_share : float, optional
        Share of the draws that give a voxel of a class, each class as often as the others and crops of a class alike;
        the others give any place, all positions equally likely. By default that many as there are classes, and one for
        anywhere.

    Raises
    ------
    InvalidArgumentError
        If the share is not from 0 to 1.
    """

    def __init__(self, reader: CropReader, foreground_share: float | None = None) -> None:
        if foreground_share is not None and not 0 <= foreground_share <= 1:
            raise InvalidArgumentError(f"foreground_share must be from 0 to 1, got {foreground_share}")
        channels = len(reader.classes)
        self.reader = reader
        self.foreground_share = channels / (channels + 1) if foreground_share is None else foreground_share
        # Counts of the rows of a few crops can be held by each process; those of many are shared while they are needed.
        self._shares = len(reader.crops) > MOST_CROPS_HELD
        self._counts: dict[int, CropCounts] = {}
        self._keys: dict[int, str] = {}
        sizes = np.array([reader.grid(crop).size for crop in range(len(reader.crops))], dtype=np.float64)
        self._ends = np.cumsum(sizes / sizes.sum())
        self._annotating = [
            [crop for crop, source in enumerate(reader.crops) if name in source.labels] for name in reader.classes
        ]

    def draw_visit(self, rng: np.random.Generator, only: int | None = None) -> Visit:
        """Draw a crop, and the class of which a patch there must hold a voxel.

        Parameters
        ----------
        rng : Generator
        only : int, optional
            The crop to draw from; any by default.
        """
        if rng.random() < self.foreground_share:
            # Classes in a random order until a crop has one: absent classes must not lower the foreground share.
            for channel in rng.permutation(len(self._annotating)).tolist():
                annotating = self._annotating[channel]
                candidates = annotating if only is None else [only] * (only in annotating)
                for number in rng.permutation(len(candidates)).tolist():
                    if self.counts(candidates[number]).present[channel].any():
                        return Visit(crop=candidates[number], channel=channel)
        if only is not None:
            return Visit(crop=only, channel=None)
        crop = int(np.searchsorted(self._ends, rng.random() * self._ends[-1], side="right"))
        return Visit(crop=crop, channel=None)

    def draw_anchor(self, rng: np.random.Generator, visit: Visit) -> npt.NDArray[np.float64] | None:
        """Draw the nm position of a voxel that the patch must hold; None for any."""
        if visit.channel is None:
            return None
        counts = self.counts(visit.crop)
        number = int(rng.integers(int(counts.present[visit.channel].sum())))
        look = self.reader.sources(visit.crop)[1].read_class
        with self.reader.regions.use(self._key(visit.crop)) if self._shares else nullcontext() as held:
            if held is not None:
                counts = _counts_from(held, counts.grid)
            voxel = find_voxel(look, counts, visit.channel, number)
        grid = counts.grid
        position: npt.NDArray[np.float64] = np.asarray(grid.translation) + np.asarray(voxel) * grid.voxel_size
        return position

    def counts(self, crop: int) -> CropCounts:
        """Return the counts of a crop; it is read the first time, unless the user's cache knows them."""
        if crop not in self._counts:
            self._counts[crop] = self.bring_in(crop) if self._shares else self._count(crop)
        return self._counts[crop]

    def bring_in(self, crop: int) -> CropCounts:
        """Have the counts of a crop in the cache of regions, with those of its rows; return them without."""
        with self.reader.regions.use_or_make(self._key(crop), lambda: _arrays_of(self._count(crop))) as held:
            counts = _counts_from(held, self.reader.grid(crop))
            return replace(counts, present=counts.present.copy(), known=counts.known.copy(), rows=None)

    def _count(self, crop: int) -> CropCounts:
        key, grid = self._key(crop), self.reader.grid(crop)
        counts = find_counts(key, grid)
        if counts is None:
            labels = self.reader.sources(crop)[1]
            labels.bring_in(grid.voxel_size)  # what is read to count is there for patches
            counts = count_crop(labels, grid)
            keep_counts(key, counts)
        return counts

    def _key(self, crop: int) -> str:
        if crop not in self._keys:
            reader = self.reader
            self._keys[crop] = counts_key(reader.crops[crop], reader.classes, reader.excludes, reader.grid(crop))
        return self._keys[crop]

    def class_counts(self) -> ClassCounts:
        """Return the counts of all crops together; those not counted yet are read, several at once."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            counts = list(pool.map(self.counts, range(len(self.reader.crops))))
        return count_classes(counts, self.reader.classes)

    def class_weights(self) -> dict[str, float]:
        """Return for each class how many voxels are known for each one that is present; 1 where none is."""
        counts = self.class_counts()
        return {name: counts.known[name] / present if present else 1.0 for name, present in counts.present.items()}


def _arrays_of(counts: CropCounts) -> tuple[npt.NDArray[Any], ...]:
    return (counts.present, counts.known, *(() if counts.rows is None else (counts.rows,)))


def _counts_from(arrays: tuple[npt.NDArray[Any], ...], grid: Grid) -> CropCounts:
    present, known, *rows = arrays
    return CropCounts(grid=grid, present=present, known=known, rows=rows[0] if rows else None)
