"""OME-Zarr volumes: scale levels with their lattices in nm, read at any lattice.

Read are multiscale groups of OME-NGFF 0.4 (https://ngff.openmicroscopy.org/0.4/) and plain arrays or groups of arrays
whose attributes carry ``voxel_size`` (or ``resolution``, ``scale``) and ``translation`` (or ``offset``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.arrays import create_array, ensure_groups, is_array, join, open_node
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.geometry import Grid
from csc_data.ngff import grid_attributes, grid_from_attributes, multiscale_attributes, multiscales, parse_multiscale
from csc_data.resampling import Order, resample

__all__ = [
    "Level",
    "Volume",
    "create_multiscale",
    "downsampled_grid",
    "grid_attributes",
    "multiscale_attributes",
    "open_volume",
    "parse_multiscale",
    "write_multiscale",
]

LEVEL_TOLERANCE = 1e-3
"""Share by which a level's voxel size may exceed the one asked for and still count as equal to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One scale level: its name in the group, its lattice, and the zarr array."""

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
        """Return the values at the voxel centres of a lattice, from the level that fits its voxel size.

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
            If a chunk is damaged.
        """
        level = self.level_for(grid.voxel_size)

        def read_box(box: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
            try:
                return np.asarray(level.array[box])
            except (RuntimeError, ValueError, OSError) as error:  # what numcodecs and stores raise for bad chunks
                raise UnreadableDataError(
                    f"{join(self.path, level.name)}: a chunk in the box {_words(box)} cannot be read: {error}"
                ) from error

        return resample(read_box, level.grid, grid, order, fill)


def _words(box: tuple[slice, slice, slice]) -> str:
    return ", ".join(f"{axis} {s.start}:{s.stop}" for axis, s in zip("zyx", box, strict=True))


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Open a multiscale group, a plain group of arrays, or an array with attributes.

    Parameters
    ----------
    path : path-like
        Local path or fsspec URL.

    Raises
    ------
    MissingDataError
        If there is nothing.
    UnreadableDataError
        If it is not three-dimensional, or no voxel size can be found.
    """
    text = os.fspath(path)
    node = open_node(text)
    attributes = dict(node.attrs)
    if is_array(node):
        levels = [Level(name="", grid=grid_from_attributes(text, attributes, node.shape), array=node)]
    elif multiscales(attributes) is not None:
        levels = _multiscale_levels(text, node, attributes)
    else:
        levels = [
            Level(name=name, grid=grid_from_attributes(join(text, name), dict(array.attrs), array.shape), array=array)
            for name, array in sorted(node.arrays())
        ]
    if not levels:
        raise UnreadableDataError(f"{text} is a zarr group without arrays")
    levels.sort(key=lambda level: float(np.prod(level.grid.voxel_size)))
    return Volume(path=text, levels=tuple(levels), attributes=attributes)


def _multiscale_levels(path: str, group: Any, attributes: Mapping[str, Any]) -> list[Level]:
    levels = []
    for place in parse_multiscale(path, attributes):
        try:
            array = group[place.name]
            levels.append(Level(name=place.name, grid=place.grid(array.shape), array=array))
        except (KeyError, AttributeError, ValueError) as error:
            raise UnreadableDataError(f"{path}: its level {place.name!r} cannot be opened: {error}") from error
    return levels


def create_multiscale(
    path: str | os.PathLike[str],
    grid: Grid,
    *,
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Any:
    """Create a multiscale group with one empty level ``s0`` and open that array for writing.

    Raises
    ------
    ExistingOutputError
        If the array exists and ``overwrite`` was not asked for.
    """
    folder = Path(path)
    array = create_array(
        folder / "s0",
        shape=grid.shape,
        dtype=dtype,
        chunks=chunks,
        attributes=grid_attributes(grid),
        overwrite=overwrite,
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
        The lattice of each level.
    chunks : sequence of int
        Chunk shape in voxels.
    attributes : mapping, optional
        Further attributes of the group.
    overwrite : bool
        Whether to replace levels that are there.

    Raises
    ------
    InvalidArgumentError
        If a lattice does not have the shape of its array.
    ExistingOutputError
        If a level exists and ``overwrite`` was not asked for.
    """
    folder = Path(path)
    names = [f"s{n}" for n in range(len(levels))]
    for name, data, grid in zip(names, levels, grids, strict=True):
        if data.shape != grid.shape:
            raise InvalidArgumentError(f"{folder / name}: data of shape {data.shape} on a lattice of {grid.shape}")
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
    """Return the lattice after merging blocks of voxels; its first centre is the mean of the merged centres.

    >>> downsampled_grid(Grid(voxel_size=(4, 4, 4), translation=(0, 0, 0), shape=(10, 10, 10)), (2, 2, 2)).translation
    (2.0, 2.0, 2.0)
    """
    z, y, x = (t + (f - 1) / 2 * v for t, v, f in zip(grid.translation, grid.voxel_size, factors, strict=True))
    dz, dy, dx = (v * f for v, f in zip(grid.voxel_size, factors, strict=True))
    nz, ny, nx = (n // f for n, f in zip(grid.shape, factors, strict=True))
    return Grid(voxel_size=(dz, dy, dx), translation=(z, y, x), shape=(nz, ny, nx))
