"""How large a fetch can become at most, by where the crops are: known before the bucket lists anything."""

from __future__ import annotations

import math

from csc_data.challenge import get_tested_classes, label_classes, training_crops_by_id
from csc_data.challenge.listed_crops import ListedCrop
from csc_data.config.user_config import Config
from csc_data.fetching.plan import FetchOptions
from csc_data.fetching.sources import known_crops, select_sources

_METADATA_BYTES = 65_536  # of one multiscale group, with all its levels: they have some kB
_HALVED = 8 / 7  # an array and its levels, each half of the one before along each axis
_RAW_CHUNK = 128
_RAW_LEVELS = 12
_FINEST_RAW = 2.0


def estimate_fetch(config: Config, options: FetchOptions) -> int | None:
    """Tell how many bytes a fetch can bring at most, from the challenge's list of crops alone.

    Voxels count one byte, as if nothing was compressed: of labels a small part of that comes. Of raw it is taken that a
    volume has at most 12 levels, each half of the one before, the finest of 2 nm, in chunks of at most 128^3, and that
    no level is needed whose voxels are less than half as long as the annotation's: so it is in the challenge. Raw that
    several crops share counts for each of them.

    Parameters
    ----------
    config : Config
        Its data folder may have lists of its own.
    options : FetchOptions
        Crops, classes, padding and resolutions.

    Returns
    -------
    int or None
        None if this package does not know where one of the crops is.

    Raises
    ------
    ProblemsError
        If a crop or data set does not exist, or a list is damaged.
    """
    n_bytes = 0
    for source in select_sources(known_crops(config).crops, options.crops, options.datasets):
        crop = source.test or training_crops_by_id().get(source.id)
        if crop is None or crop.dataset != source.dataset:
            return None
        n_bytes += _raw_bytes(crop, options) + _METADATA_BYTES
        if source.test is None:
            # The list names the classes that are scored; of others nobody knows whether the bucket has them.
            wanted = {*label_classes(), "all"} if options.classes is None else set(options.classes)
            arrays = len(wanted.difference(set(get_tested_classes()).difference(crop.classes)))
            n_bytes += arrays * (math.ceil(crop.grid.size * _HALVED) + _METADATA_BYTES)
    return n_bytes


def _raw_bytes(crop: ListedCrop, options: FetchOptions) -> int:
    """Return the most that the chunks around a crop can have, wherever chunks begin."""
    sizes = (0.0,) * 3 if options.all_resolutions else crop.voxel_size
    extent = [n * size for n, size in zip(crop.shape, crop.voxel_size, strict=True)]
    n_bytes = 0
    for level in range(_RAW_LEVELS):
        steps = [max(size / 2, _FINEST_RAW) * 2**level for size in sizes]
        # A window covers a part of a voxel at both ends; a run of n voxels touches a part of a chunk at both.
        covered = [math.ceil(length / step) + 1 for length, step in zip(extent, steps, strict=True)]
        chunks = [(n + 2 * options.raw_padding - 2) // _RAW_CHUNK + 2 for n in covered]
        n_bytes += math.prod(chunks) * _RAW_CHUNK**3
    return n_bytes
