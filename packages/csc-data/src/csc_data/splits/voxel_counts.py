"""How many voxels of a class are present in an annotation, by scale level.

Annotations of the challenge record in their metadata how many of their voxels are absent or unknown
(``cellmap/annotation/complement_counts``, https://github.com/janelia-cellmap/cellmap-schemas); what is recorded is
taken from there, so that nobody has to read the voxels of the whole challenge. What is not recorded is counted. Nothing
is ever written.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from csc_data.blocks import BlockGrid, align_block_shape
from csc_data.errors import CscError, UnreadableDataError
from csc_data.formats.ngff import parse_multiscale
from csc_data.formats.reading import open_array
from csc_data.geometry import Triple
from csc_data.storage.trees import FileTree, LocalTree
from csc_data.volumes import open_volume
from csc_data.volumes.annotation_values import Encoding, read_annotation, read_encoding

_BLOCK_SHAPE = (256, 256, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelCount:
    """One scale level of an annotation.

    Attributes
    ----------
    voxel_size : tuple of float
        nm, z, y, x.
    size, present : int
        Voxels in all, and those where the class is present.
    """

    voxel_size: Triple
    size: int
    present: int


Counts = tuple[LevelCount, ...] | CscError
"""The levels of an annotation, finest first, or why they cannot be counted."""


@dataclass(slots=True, kw_only=True)
class _Annotation:
    """What is known of an annotation from its metadata so far."""

    path: str
    encoding: Encoding | None = None
    levels: list[tuple[str, Triple]] = field(default_factory=list)


def count_annotations(tree: FileTree, paths: Sequence[str], *, all_levels: bool = False) -> list[Counts]:
    """Count the voxels that are present in each of many annotations.

    Parameters
    ----------
    tree : FileTree
        Where their metadata is read.
    paths : sequence of str
        The folders or URLs of annotations, one multiscale group or array a class.
    all_levels : bool
        Whether to count at every level, or at the finest alone.

    Returns
    -------
    list
        In the order of the paths; an annotation that cannot be read does not keep the others from being counted.
    """
    # Forward slashes do everywhere, and building ten thousands of path objects takes longer than reading the files.
    annotations = [
        _read_group(path, content)
        for path, content in zip(paths, tree.read([f"{path}/.zattrs" for path in paths]), strict=True)
    ]
    wanted = [
        (number, name)
        for number, annotation in enumerate(annotations)
        for name, _ in annotation.levels[: None if all_levels else 1]
    ]
    files = [f"{annotations[n].path}/{name}/{file}" for n, name in wanted for file in (".zarray", ".zattrs")]
    contents = tree.read(files)
    recorded = {
        place: _recorded_count(contents[2 * index], contents[2 * index + 1]) for index, place in enumerate(wanted)
    }
    workers = (os.cpu_count() or 1) if isinstance(tree, LocalTree) else 32  # over a network it is waiting that counts

    def count(number: int) -> Counts:
        try:
            return _count(number, annotations[number], recorded, all_levels=all_levels)
        except CscError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(count, range(len(paths))))


def _count(
    number: int,
    annotation: _Annotation,
    recorded: Mapping[tuple[int, str], tuple[int, int] | None],
    *,
    all_levels: bool,
) -> tuple[LevelCount, ...]:
    levels = annotation.levels[: None if all_levels else 1]
    if not levels:  # another form of volume, which the reader of volumes knows
        volume = open_volume(annotation.path)
        group = read_encoding(volume.attributes)
        return tuple(
            LevelCount(
                voxel_size=level.grid.voxel_size,
                size=level.grid.size,
                present=_count_stored(annotation.path, level.array, group),
            )
            for level in volume.levels[: None if all_levels else 1]
        )
    counts = []
    for name, voxel_size in levels:
        known = recorded[number, name]
        if known is None:
            path = f"{annotation.path}/{name}"
            array = open_array(path)
            known = math.prod(array.shape), _count_stored(path, array, annotation.encoding)
        counts.append(LevelCount(voxel_size=voxel_size, size=known[0], present=known[1]))
    return tuple(counts)


def _count_stored(path: str, array: Any, group: Encoding | None) -> int:
    """Count the voxels of an array, block by block: annotations of 1000^3 voxels must not be loaded whole."""
    encoding = read_encoding(dict(array.attrs)) or group or Encoding()
    blocks = BlockGrid(shape=array.shape, block_shape=align_block_shape(_BLOCK_SHAPE, array.chunks))
    count = 0
    for block in blocks:
        try:
            values = np.asarray(array[block.write])
        except (RuntimeError, ValueError, OSError) as error:  # what numcodecs and stores raise for bad chunks
            raise UnreadableDataError(f"{path}: a chunk cannot be read: {error}") from error
        count += encoding.count_present(values)
    return count


def _read_group(path: str, content: bytes | None) -> _Annotation:
    """Return the levels and the encoding that the attributes of a multiscale group tell; nothing if they are odd."""
    attributes = _json_object(content)
    try:
        places = parse_multiscale(path, attributes)
    except UnreadableDataError:
        return _Annotation(path=path)
    levels = sorted(((place.name, place.voxel_size) for place in places), key=lambda level: math.prod(level[1]))
    return _Annotation(path=path, encoding=read_encoding(attributes), levels=levels)


def _recorded_count(metadata: bytes | None, attributes: bytes | None) -> tuple[int, int] | None:
    """Return size and voxels present as an array's metadata records them; None if it does not, or cannot be right."""
    counts = read_annotation(_json_object(attributes)).get("complement_counts")
    if not isinstance(counts, Mapping) or "absent" not in counts:
        return None
    try:
        size = math.prod(_json_object(metadata)["shape"])
        others = sum(counts.values())
    except (KeyError, TypeError):
        return None
    if not isinstance(others, int) or not 0 <= others <= size:
        return None
    return size, size - others


def _json_object(content: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
