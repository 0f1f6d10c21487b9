"""Arrays and volumes of zarr 2, zarr 3 and N5, in folders, zips or at a URL."""

from __future__ import annotations

import os
import re
from typing import Any

from csc_data.blocks import check_finished
from csc_data.config.user_config import choose_endpoint
from csc_data.converting.sources.source import Source, boxes_of, choose_name, shape_of, spatial_axes
from csc_data.formats.n5 import n5_levels
from csc_data.formats.ngff import multiscales, stated_place
from csc_data.formats.reading import open_chunks
from csc_data.storage.nodes import Node, children, read_node
from csc_data.storage.paths import join
from csc_data.storage.stores.places import open_place
from csc_data.volumes import Level, open_volume
from csc_data.volumes.stored_values import StoredValues

_LEVEL = re.compile(r"s?\d+")


def open_zarr(path: str | os.PathLike[str], array: str | None = None, *, known: bool = False) -> Source:
    """Open the finest level of a volume, or an array.

    Parameters
    ----------
    path : path-like
        Local path or URL.
    array : str, optional
        Where in it the array or volume lies; not needed where there is only one.
    known : bool
        Whether the voxel size is known already, so that what is stored need not state it.

    Raises
    ------
    MissingDataError
        If there is nothing.
    InvalidArgumentError
        If it was not said which of several arrays.
    UnreadableDataError
        If it is damaged, half written, or not three-dimensional.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_multiscale(f"{folder}/raw", [np.ones((4, 4, 4), np.uint8)], [grid])
    ...     open_zarr(f"{folder}/raw").voxel_size
    (8.0, 8.0, 8.0)
    """
    place = path if array is None else join(path, array)
    check_finished(place)
    node = read_node(open_place(place, endpoint=choose_endpoint(place)))
    if not node.is_array:
        names = [child.name for child in children(node.store, node.key) if child.is_array]
        if multiscales(node.attributes) is not None or (names and all(map(_LEVEL.fullmatch, names)) and not known):
            volume = open_volume(place)
            return _of_level(volume.path, volume.levels[0], volume.attributes)
        if names and all(map(_LEVEL.fullmatch, names)):
            names = [min(names, key=lambda name: int(name.strip("s")))]
        return open_zarr(join(place, choose_name(place, names, None)), known=known)
    if node.format == "n5" and not known:
        (_, grid, _), *_ = n5_levels(node)
        return _of_level(node.path, Level(name="", grid=grid, array=open_chunks(node)), node.attributes)
    return _of_array(node)


def _of_level(path: str, level: Level, attributes: Any) -> Source:
    stored = {**attributes, **level.array.attrs}
    return Source(
        name=f"{path}/{level.name}".rstrip("/"),
        shape=level.grid.shape,
        dtype=level.dtype,
        read=boxes_of(level.array, (0, 1, 2)),
        voxel_size=level.grid.voxel_size,
        translation=level.grid.translation,
        said=("the voxel size is that of the metadata",),
        stamp=(path, level.name, list(level.grid.shape)),
        meaning=StoredValues.from_attributes(stored),
    )


def _of_array(node: Node) -> Source:
    array = open_chunks(node)
    axes = spatial_axes(node.path, array.shape)
    size, translation = stated_place(node.path, node.attributes) if node.format != "n5" else (None, None)
    return Source(
        name=node.path,
        shape=shape_of(array, axes),
        dtype=array.dtype,
        read=boxes_of(array, axes),
        voxel_size=size,
        translation=translation,
        said=() if size is None else ("the voxel size is that of the array's attributes",),
        stamp=(node.path, list(array.shape)),
        meaning=StoredValues.from_attributes(node.attributes),
    )
