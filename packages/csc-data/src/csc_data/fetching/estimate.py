"""How large a fetch can become at most, by where the crops are: known before the bucket lists anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from csc_data.challenge import get_tested_classes, label_classes, training_crops_by_id
from csc_data.fetching.labels import Region
from csc_data.fetching.plan import FetchOptions
from csc_data.fetching.raw import RawVolume, choose_levels, level_box
from csc_data.fetching.sources import CropSource
from csc_data.geometry import Grid, Shape

_RAW_CHUNK = 128
"""Voxels along each axis of a chunk of raw that nobody looked at."""
_FINEST_RAW = 2.0
"""nm; no raw of the challenge is finer."""
_MOST_LEVELS = 12
_METADATA_BYTES = 65_536  # of one multiscale group, with all its levels: they have some kB


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEstimate:
    """The most that a fetch can bring, in bytes."""

    label_bytes: int
    raw_bytes: int

    @property
    def n_bytes(self) -> int:
        """Labels and raw together."""
        return self.label_bytes + self.raw_bytes


def estimate_fetch(
    sources: Iterable[CropSource], options: FetchOptions, volumes: Mapping[str, RawVolume] | None = None
) -> FetchEstimate | None:
    """Tell how large a fetch can become at most; nothing is read.

    Voxels count one byte, as if nothing was compressed: labels take a small part of that. Where crops share chunks of
    raw, these count for each of them.

    Parameters
    ----------
    sources : iterable of CropSource
        The crops.
    options : FetchOptions
        Classes, padding and resolutions.
    volumes : mapping, optional
        Raw volumes by data set, as far as their metadata was read: what crops need of them are the chunks that
        `csc_data.fetching.raw` will ask for. Of others it is taken that they have at most 12 levels, each half of the
        one before, in chunks of at most 128^3, and that no level is needed whose voxels are less than half of the
        annotation's along an axis: so it is in the challenge.

    Returns
    -------
    FetchEstimate or None
        None if the facts in this package do not tell where one of the crops is.
    """
    label_bytes = raw_bytes = 0
    for source in sources:
        crop = source.test or training_crops_by_id().get(source.id)
        if crop is None or crop.dataset != source.dataset:
            return None
        if source.test is None:
            arrays = _count_arrays(crop.classes, options.classes)
            label_bytes += arrays * (_pyramid_voxels(crop.shape) + _METADATA_BYTES)
        region = Region(bounds=crop.grid.bounds, voxel_size=crop.voxel_size)
        volume = (volumes or {}).get(source.dataset)
        raw_bytes += _METADATA_BYTES
        raw_bytes += _needed_voxels(volume, region, options) if volume else _assumed_voxels(crop.grid, options)
    return FetchEstimate(label_bytes=label_bytes, raw_bytes=raw_bytes)


def _count_arrays(annotated: Sequence[str], wanted: Sequence[str] | None) -> int:
    """Count the label arrays that a crop can have: the list names classes that are scored, the bucket has others."""
    listed = [name for name in get_tested_classes() if name not in annotated]
    return len({*label_classes(), "all"}.difference(listed) if wanted is None else set(wanted).difference(listed))


def _pyramid_voxels(shape: Shape) -> int:
    """Return the voxels of an array and of its levels, each half of the one before along each axis."""
    voxels = 0
    while max(shape) > 1:
        voxels += math.prod(shape)
        z, y, x = (-(-n // 2) for n in shape)
        shape = z, y, x
    return voxels + 1


def _needed_voxels(volume: RawVolume, region: Region, options: FetchOptions) -> int:
    """Return the voxels of the chunks that a crop needs of a volume whose levels are known."""
    return sum(
        math.prod(map(len, level_box(level, region, options.raw_padding))) * math.prod(level.array.chunks)
        for level in choose_levels(volume.levels, region, all_resolutions=options.all_resolutions)
    )


def _assumed_voxels(grid: Grid, options: FetchOptions) -> int:
    """Return the most voxels that the chunks around a crop can have, wherever chunks begin."""
    finest = (0.0, 0.0, 0.0) if options.all_resolutions else grid.voxel_size
    lengths = [end - begin for begin, end in zip(grid.bounds.begin, grid.bounds.end, strict=True)]
    voxels = 0
    for level in range(_MOST_LEVELS):
        steps = [max(size / 2, _FINEST_RAW) * 2**level for size in finest]
        # A window covers a part of a voxel at both ends; a run of n voxels touches a part of a chunk at both.
        covered = [math.ceil(length / step) + 1 for length, step in zip(lengths, steps, strict=True)]
        chunks = [(n + 2 * options.raw_padding - 2) // _RAW_CHUNK + 2 for n in covered]
        voxels += math.prod(chunks) * _RAW_CHUNK**3
    return voxels
