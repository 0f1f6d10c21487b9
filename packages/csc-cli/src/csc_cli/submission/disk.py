"""How much room on the disk a crop takes while it is made, at most."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from csc_data.challenge import TestCrop
from csc_data.errors import CscError
from csc_data.geometry import Shape, Triple
from csc_submit import ProcessSettings
from csc_submit.processing.own_function import own_step
from csc_submit.processing.passes import passes_of, steps_for
from csc_train.prediction.planning.estimate import RegionEstimate

_CHUNK = 64
_FILE_BLOCK = 4096  # what the smallest file takes
_RECORDS = 64 * _FILE_BLOCK  # of what is finished, and who is at it
_MOST_CLAIMS = 4096
_MASK_BYTES = 1 / 6  # of a voxel: even noise of 0 and 1 is a bit each, compressed
_ID_BYTES = 1.0  # ids are stored in up to four bytes, whole objects of them compressed to far less than this


class DiskBudgetError(CscError, OSError):
    """What is to be made takes more room on the disk than it may."""


def most_bytes(
    crop: TestCrop, classes: Iterable[str], arrays: int, estimate: RegionEstimate, settings: ProcessSettings
) -> int:
    """Return what a crop takes at most, when it is packed: predictions before compression, labels of smooth objects.

    Parameters
    ----------
    crop : TestCrop
    classes : iterable of str
    arrays : int
        That are predicted: those of the classes, and what their post-processing reads beside them.
    estimate : RegionEstimate
        Of its prediction, maybe with other arrays.
    settings : ProcessSettings
    """
    names = tuple(classes)
    share = arrays / len(estimate.classes)
    # A chunk of an array has a folder, too, at most; what tells who does a block is a file while it is done.
    files = 2 * share * estimate.files + min(estimate.blocks, _MOST_CLAIMS)
    predictions = math.ceil(share * estimate.bytes + _FILE_BLOCK * files)
    voxel_size = _mean_voxel_size(crop, estimate)
    chunk = min(_CHUNK, *settings.block_shape)
    processed = [_array_bytes(estimate.shape, _label_bytes(name, settings), chunk) for name in names]
    # Classes are processed one by one: each pass leaves an array, and tables of blocks, until the last one is there.
    largest = 2 * _array_bytes(estimate.shape, _ID_BYTES, chunk)
    under_way = [_passes(settings, name, voxel_size, names) * largest for name in names]
    packed = [_array_bytes(crop.shape, _label_bytes(name, settings), _CHUNK) for name in names]
    # The ids of a class are written twice, as their type is known in the end.
    return predictions + sum(processed) + sum(packed) + max([*under_way, *packed]) + _RECORDS


def _mean_voxel_size(crop: TestCrop, estimate: RegionEstimate) -> Triple:
    z, y, x = (size * n / m for size, n, m in zip(crop.voxel_size, crop.shape, estimate.shape, strict=True))
    return z, y, x


def _passes(settings: ProcessSettings, name: str, voxel_size: Triple, known: tuple[str, ...]) -> int:
    return len(passes_of(steps_for(settings, name, voxel_size, own_step(settings), known)))


def _label_bytes(name: str, settings: ProcessSettings) -> float:
    return _ID_BYTES if name in settings.class_table.instances else _MASK_BYTES


def _array_bytes(shape: Shape, each: float, chunk: int) -> int:
    chunks = math.prod(math.ceil(n / chunk) for n in shape)
    # Beside chunks: their folders, and metadata.
    return math.ceil(each * math.prod(shape)) + _FILE_BLOCK * (2 * chunks + 8)


def used_bytes(places: Iterable[Path]) -> int:
    """Return the bytes on the disk of files and folders; what is not there takes none.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     used_bytes([Path(folder, "nothing")])
    0
    """
    total = 0
    for place in places:
        total += _size(place)
        for folder, folders, files in os.walk(place):
            total += sum(_size(Path(folder, name)) for name in (*folders, *files))
    return total


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError:  # gone meanwhile
        return 0
    return getattr(found, "st_blocks", 0) * 512 or found.st_size
