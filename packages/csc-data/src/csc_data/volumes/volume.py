"""OME-Zarr volumes: scale levels with their grids in nm, read at any grid.

Read are multiscale groups of OME-NGFF 0.3 to 0.5 (https://ngff.openmicroscopy.org) and plain arrays or groups of arrays
whose attributes carry ``voxel_size`` (or ``resolution``, ``scale``) and ``translation`` (or ``offset``), and N5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.config.user_config import choose_endpoint
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.formats.n5 import n5_levels
from csc_data.formats.ngff import (
    grid_attributes,
    grid_from_attributes,
    multiscale_attributes,
    multiscales,
    read_multiscale,
)
from csc_data.formats.reading import open_chunks, open_level
from csc_data.geometry import LEVEL_TOLERANCE, Grid, Roi
from csc_data.storage.nodes import Node, children, read_node, read_nodes
from csc_data.storage.stores.places import join_key, open_place
from csc_data.volumes.resampling import Order, resample


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One scale level: its name in the group, its grid, and the zarr array."""

    name: str
    grid: Grid
    array: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored voxels."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of one or more scale levels, finest first.

    Attributes
    ----------
    path : str
        Where it lies.
    levels : tuple of Level
        At least one, ordered by voxel volume.
    attributes : mapping
        The attributes of the group or array.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, Roi, open_volume, write_multiscale
    >>> fine = Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(8, 8, 8))
    >>> coarse = Grid(voxel_size=(8, 8, 8), translation=(2, 2, 2), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_multiscale(f"{folder}/raw", [np.full((8, 8, 8), 1), np.full((4, 4, 4), 2)], [fine, coarse])
    ...     volume = open_volume(f"{folder}/raw")
    ...     print(volume.level_for((8, 8, 8)).name, int(volume.read(fine, order=1).sum()))
    ...     print(volume.read_roi(Roi([0, 0, 0], [16, 16, 8]), voxel_size=(8, 8, 8)).tolist())
    s1 512
    [[[2], [2]], [[2], [2]]]
    """

    path: str
    levels: tuple[Level, ...]
    attributes: Mapping[str, Any]

    def level_for(self, voxel_size: Sequence[float]) -> Level:
        """Return the coarsest level that is not coarser than asked on any axis, else the finest one.

        Parameters
        ----------
        voxel_size : sequence of float
            nm, z, y, x.
        """
        fitting = [
            level
            for level in self.levels
            if all(v <= w * (1 + LEVEL_TOLERANCE) for v, w in zip(level.grid.voxel_size, voxel_size, strict=True))
        ]
        return fitting[-1] if fitting else self.levels[0]

    def read(self, grid: Grid, order: Order, fill: float = 0) -> npt.NDArray[Any]:
        """Return the values at the voxel centres of a grid, from the level that fits its voxel size.

        Parameters
        ----------
        grid : Grid
            Where to sample; it may reach beyond the volume.
        order : {0, 1}
            0 is nearest, for labels; 1 is linear, for raw.
        fill : float
            Value outside the volume.

        Returns
        -------
        ndarray
            Shape ``grid.shape``, in the stored dtype.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged, or cannot be read; with its path. A chunk that is not stored is not an error.
        """
        level = self.level_for(grid.voxel_size)
        return resample(lambda box: np.asarray(level.array[box]), level.grid, grid, order, fill)

    def read_roi(
        self, roi: Roi, voxel_size: Sequence[float] | None = None, order: Order = 1, fill: float = 0
    ) -> npt.NDArray[Any]:
        """Return the values of a box in nm at a voxel size: those of ``Grid.covering(roi, voxel_size)``.

        Parameters
        ----------
        roi : Roi
            It may reach beyond the volume.
        voxel_size : sequence of float, optional
            nm, z, y, x; that of the finest level by default.
        order : {0, 1}
            0 is nearest, for labels; 1 is linear, for raw.
        fill : float
            Value outside the volume.

        Returns
        -------
        ndarray
            In the stored dtype. Voxel 0 begins at the first corner of the box; the last voxels reach beyond it where
            its extent is not a multiple of the voxel size.

        Raises
        ------
        UnreadableDataError
            If a chunk is damaged, or cannot be read.
        """
        return self.read(Grid.covering(roi, voxel_size or self.levels[0].grid.voxel_size), order, fill)


def open_volume(path: str | os.PathLike[str], *, endpoint: str | None = None) -> Volume:
    """Open a multiscale group, a plain group of arrays, or an array with attributes.

    Parameters
    ----------
    path : path-like
        Local path or fsspec URL. ``s3://`` is read anonymously unless fsspec is configured otherwise, see
        `csc_data.storage.remote`.
    endpoint : str, optional
        Address of the S3 service, where it is not that of the configuration.

    Raises
    ------
    MissingDataError
        If there is nothing.
    UnreadableDataError
        If it is not three-dimensional, no voxel size can be found, its format is not supported, or it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, open_volume, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_multiscale(f"{folder}/raw", [np.ones((4, 4, 4), np.uint8)], [grid])
    ...     volume = open_volume(f"{folder}/raw")
    ...     print(volume.levels[0].name, volume.levels[0].grid.bounds)
    s0 Roi(begin=(-4.0, -4.0, -4.0), end=(28.0, 28.0, 28.0))
    """
    node = read_node(open_place(path, endpoint=choose_endpoint(path, endpoint)))
    if node.format == "n5":
        levels = [Level(name=name, grid=grid, array=open_chunks(array)) for name, grid, array in n5_levels(node)]
    elif node.is_array:
        levels = [_plain_level(node, "")]
    elif multiscales(node.attributes) is not None:
        levels = _multiscale_levels(node)
    else:
        levels = [_plain_level(child, child.name) for child in children(node.store, node.key) if child.is_array]
    if not levels:
        raise UnreadableDataError(f"{node.path} is a group without arrays")
    levels.sort(key=lambda level: float(np.prod(level.grid.voxel_size)))
    return Volume(path=node.path, levels=tuple(levels), attributes=node.attributes)


def _multiscale_levels(group: Node) -> list[Level]:
    entry = read_multiscale(group.path, group.attributes)
    nodes = read_nodes(group.store, [join_key(group.key, name) for name, _ in entry.datasets])
    levels = []
    for (name, steps), node in zip(entry.datasets, nodes, strict=True):
        if node is None or not node.is_array:
            raise UnreadableDataError(f"{group.path}: its `multiscales` name {name!r}, where there is no array")
        place = entry.place(name, steps)
        if place is None:  # versions before 0.4 have no scales; the array itself may say
            levels.append(_plain_level(node, name))
            continue
        array = open_level(node, place)
        try:
            grid = place.grid(array.shape)
        except InvalidArgumentError as error:
            raise UnreadableDataError(f"{node.path}: {error}") from error
        levels.append(Level(name=name, grid=grid, array=array))
    return levels


def _plain_level(node: Node, name: str) -> Level:
    array = open_chunks(node)
    return Level(name=name, grid=grid_from_attributes(node.path, node.attributes, array.shape), array=array)


def create_multiscale(
    path: str | os.PathLike[str],
    grid: Grid,
    *,
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    labels: bool = False,
) -> Any:
    """Create a multiscale group with one empty level ``s0`` and open that array for writing.

    With ``labels`` it is compressed as suits masks and ids.

    Raises
    ------
    ExistingOutputError
        If the array exists and ``overwrite`` was not asked for.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, open_volume
    >>> from csc_data.volumes import create_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(64, 64, 64))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = create_multiscale(f"{folder}/a.zarr/mito", grid, dtype="u1", chunks=(32, 32, 32))
    ...     array[:32, :32, :32] = 1  # block by block
    ...     int(open_volume(f"{folder}/a.zarr/mito").levels[0].array[...].sum())
    32768
    """
    from csc_data.formats.writing import create_array, ensure_groups  # brings zarr, which reading does not need

    folder = Path(path)
    array = create_array(
        folder / "s0",
        shape=grid.shape,
        dtype=dtype,
        chunks=chunks,
        attributes=grid_attributes(grid),
        overwrite=overwrite,
        labels=labels,
    )
    ensure_groups(folder, {**multiscale_attributes(folder.name, [("s0", grid)]), **(attributes or {})})
    return array


def write_multiscale(
    path: str | os.PathLike[str],
    levels: Sequence[npt.NDArray[Any]],
    grids: Sequence[Grid],
    *,
    chunks: Sequence[int] = (64, 64, 64),
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write arrays as the levels ``s0``, ``s1``, ... of a multiscale group.

    Parameters
    ----------
    path : path-like
        Local folder of the group.
    levels : sequence of ndarray
        Finest first.
    grids : sequence of Grid
        The grid of each level.
    chunks : sequence of int
        Chunk shape in voxels.
    attributes : mapping, optional
        Further attributes of the group.
    overwrite : bool
        Whether to replace levels that are there.

    Raises
    ------
    InvalidArgumentError
        If there is not a grid for each array, or one does not have the shape of its array.
    ExistingOutputError
        If a level exists and ``overwrite`` was not asked for.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, open_volume, write_multiscale
    >>> grid = Grid(voxel_size=(8, 4, 4), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_multiscale(f"{folder}/a.zarr/mito", [np.ones((4, 4, 4), np.uint8)], [grid])
    ...     open_volume(f"{folder}/a.zarr/mito").levels[0].grid.voxel_size
    (8.0, 4.0, 4.0)
    """
    from csc_data.formats.writing import create_array, ensure_groups  # brings zarr, which reading does not need

    folder = Path(path)
    given: Any = levels  # one array is a sequence as well, of planes
    if isinstance(given, np.ndarray) or isinstance(grids, Grid) or len(levels) != len(grids):
        raise InvalidArgumentError(
            f"{folder}: give a list of arrays, finest first, and a list with the grid of each, also for one level"
        )
    names = [f"s{n}" for n in range(len(levels))]
    for name, data, grid in zip(names, levels, grids, strict=True):
        if data.shape != grid.shape:
            raise InvalidArgumentError(f"{folder / name}: data of shape {data.shape} on a grid of {grid.shape}")
        array = create_array(
            folder / name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=chunks,
            attributes=grid_attributes(grid),
            overwrite=overwrite,
        )
        array[...] = data
    ensure_groups(
        folder, {**multiscale_attributes(folder.name, list(zip(names, grids, strict=True))), **(attributes or {})}
    )


def downsampled_grid(grid: Grid, factors: Sequence[int]) -> Grid:
    """Return the grid after merging blocks of voxels; its first centre is the mean of the merged centres.

    >>> downsampled_grid(Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(10, 10, 10)), (2, 2, 2)).translation
    (2.0, 2.0, 2.0)
    """
    z, y, x = (t + (f - 1) / 2 * v for t, v, f in zip(grid.translation, grid.voxel_size, factors, strict=True))
    dz, dy, dx = (v * f for v, f in zip(grid.voxel_size, factors, strict=True))
    nz, ny, nx = (n // f for n, f in zip(grid.shape, factors, strict=True))
    return Grid(voxel_size=(dz, dy, dx), translation=(z, y, x), shape=(nz, ny, nx))
