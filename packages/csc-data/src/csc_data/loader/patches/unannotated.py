"""Patches of raw that nobody annotated: from wherever it is stored, and which of their voxels there is raw for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import MissingDataError
from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.chunked_array import ChunkedArray
from csc_data.geometry import Shape, as_shape
from csc_data.loader.patches.reader import Sample
from csc_data.loader.patches.training import DrawVisit, PatchPlace, TrainingPatches
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.sources.working_level import WorkingLevel
from csc_data.splits.annotations import AnnotatedCrop
from csc_data.storage.paths import is_remote
from csc_data.volumes import Level, Volume

KNOWN = "known"
"""Name in batches of the array that says of which voxels of the target there is raw: 1, or 0 where it is mirrored."""

REGION_VOXELS = 256
"""Voxels along each axis of a region, at the voxel size that is read: so much is read at once, and serves many."""

Flags = npt.NDArray[np.bool_]


def raw_regions(volume: Volume, voxel_size: Sequence[float], *, name: str) -> list[AnnotatedCrop]:
    """Divide what is stored of a volume into boxes, as crops in which nothing is annotated.

    Parameters
    ----------
    volume : Volume
        In a folder what was not fetched lacks chunks; of a bucket all is taken to be there.
    voxel_size : sequence of float
        nm, z, y, x, at which it will be read.
    name : str
        What messages call it.

    Raises
    ------
    MissingDataError
        If nothing is stored of the level that suits the voxel size.
    """
    level = volume.level_for(voxel_size)
    chunk = as_shape(getattr(level.array, "chunks", level.grid.shape))
    factors = [max(1.0, w / v) for w, v in zip(voxel_size, level.grid.voxel_size, strict=True)]
    most = as_shape([max(1, int(REGION_VOXELS * f / c)) for f, c in zip(factors, chunk, strict=True)])
    found: list[AnnotatedCrop] = []
    for begin, end in stored_boxes(level, most):
        low = [b * c for b, c in zip(begin, chunk, strict=True)]
        high = [min(e * c, n) for e, c, n in zip(end, chunk, level.grid.shape, strict=True)]
        bounds = level.grid.window(as_shape(low), [h - b for b, h in zip(low, high, strict=True)]).bounds
        found.append(AnnotatedCrop(name=f"{name}, raw {len(found) + 1}", raw=volume, labels={}, bounds=bounds))
    if not found:
        raise MissingDataError(
            f"nothing is stored of {volume.path}/{level.name}, which suits {tuple(voxel_size)} nm; csc fetch-data "
            "fetches raw, also all of a volume (--raw-padding)"
        )
    return found


def stored_boxes(level: Level, most: Shape) -> Iterator[tuple[Shape, Shape]]:
    """Yield boxes that hold each stored chunk of a level once, and no other; first and last but one chunk.

    Parameters
    ----------
    level : Level
    most : tuple of int
        Chunks of a box along each axis.
    """
    source = level.array.source if isinstance(level.array, ChunkedArray) else None
    counts = [
        -(-n // c) for n, c in zip(level.grid.shape, getattr(level.array, "chunks", level.grid.shape), strict=True)
    ]
    for corner in itertools.product(*(range(0, n, m) for n, m in zip(counts, most, strict=True))):
        size = as_shape([min(m, n - c) for c, m, n in zip(corner, most, counts, strict=True)])
        stored = np.ones(size, dtype=bool)
        if isinstance(source, StoredChunks) and not is_remote(source.path):
            numbers = itertools.product(*(range(c, c + n) for c, n in zip(corner, size, strict=True)))
            stored = np.array([stamp is not None for stamp in source.stamps(list(numbers))]).reshape(size)
        for begin, end in _full_boxes(stored):
            first, last = np.asarray(begin) + corner, np.asarray(end) + corner
            yield as_shape(first.tolist()), as_shape(last.tolist())


def _full_boxes(flags: Flags) -> Iterator[tuple[Shape, Shape]]:
    """Yield boxes that hold each true element once, and none that is false.

    >>> [(b, e) for b, e in _full_boxes(np.array([[[True, True, False], [True, True, True]]]))]
    [((0, 0, 0), (1, 2, 2)), ((0, 1, 2), (1, 2, 3))]
    """
    left = flags.copy()
    while left.any():
        begin = [int(i) for i in np.unravel_index(int(left.argmax()), left.shape)]
        end = [i + 1 for i in begin]
        for axis in (2, 1, 0):
            while end[axis] < left.shape[axis]:
                layer = [slice(b, e) for b, e in zip(begin, end, strict=True)]
                layer[axis] = slice(end[axis], end[axis] + 1)
                if not left[tuple(layer)].all():
                    break
                end[axis] += 1
        left[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))] = False
        yield as_shape(begin), as_shape(end)


class RawPatches(TrainingPatches):
    """Samples of raw alone, drawn anywhere, with an array `KNOWN` that says where raw is not mirrored.

    Its reader has no classes and no targets, and regions for crops, see `raw_regions`.
    """

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array of a sample, with its channels first and z also where flat."""
        return {**super().shapes(), KNOWN: (1, *self.reader.patch.target.shape)}

    def squeezed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch, of arrays or tensors, with flat patches less their z axis."""
        rest = {name: array for name, array in batch.items() if name != KNOWN}
        known = {KNOWN: batch[KNOWN][:, :, 0] if self.reader.patch.target.flat else batch[KNOWN]}
        return {**super().squeezed(rest), **known}

    def _sample(self, rng: np.random.Generator, draw: DrawVisit) -> Sample:
        sample = {name: np.empty((1, *shape), dtype=np.float32) for name, shape in self.shapes().items()}
        self._fill(rng, {name: array[0] for name, array in sample.items()}, draw)
        return {name: array[0] for name, array in self.squeezed(sample).items()}

    def _fill(self, rng: np.random.Generator, sample: Sample, draw: DrawVisit) -> None:
        placed = self._place(rng, draw)
        raw = {name: array for name, array in sample.items() if name != KNOWN}
        self.reader.gather(placed.crop, placed.patch_map, raw, self.intensity.draw(rng) if self.intensity else None)
        sample[KNOWN][0] = self._known(placed)

    def _known(self, placed: PatchPlace) -> Flags:
        array = self.reader.patch.target
        level = self.reader.sources(placed.crop)[0].level_for(placed.patch_map, array)
        return where_stored(placed, array, level)


def where_stored(placed: PatchPlace, array: ArrayInfo, level: WorkingLevel) -> Flags:
    """Tell which voxels of an array lie where raw is stored, shape ``array.shape``; elsewhere it is mirrored.

    Of a patch that is bent, what is nearer to the end than it may be bent counts as beyond.
    """
    m, t = placed.patch_map.to_voxels(array, level.grid)
    low, high = level.faces - 0.5
    if placed.patch_map.displacement is not None:
        slack = placed.patch_map.displacement.largest / level.grid.voxel_size
        low, high = low + slack, high - slack
    known = np.ones(array.shape, dtype=bool)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in array.shape), indexing="ij", sparse=True)
    for row, start, first, end in zip(m, t, low, high, strict=True):
        position = sum(factor * axis for factor, axis in zip(row, axes, strict=True)) + start
        known &= (position >= first - _ROUNDING) & (position < end + _ROUNDING)
    return known


_ROUNDING = 1e-6
