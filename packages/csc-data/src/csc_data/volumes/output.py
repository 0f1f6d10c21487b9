"""The volumes that are written block by block: how they are stored, created, and opened to be written to."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError
from csc_data.formats.ngff import grid_attributes, multiscale_attributes
from csc_data.geometry import Grid, Shape, as_shape
from csc_data.volumes.sharded import (
    METADATA,
    Packing,
    ShardedArray,
    fit_shards,
    import_tensorstore,
    sharded_metadata,
)

OutputFormat = Literal[2, 3]


class WritableArray(Protocol):
    """What `open_output_array` gives."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """Voxels of a file."""
        ...

    def __setitem__(self, box: Any, values: Any, /) -> None:
        """Write values to a box."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStorage:
    """How a volume is stored.

    Attributes
    ----------
    dtype : dtype
    chunks : tuple of int
        In voxels.
    format : {2, 3}
        Of zarr; format 3 is written by tensorstore.
    shards : tuple of int, optional
        Format 3 only: about how many voxels one file holds; see `fit_shards`. A chunk by default.
    level : int
        Of Zstandard: 1 takes less than a tenth of the time of 3 for probabilities, which become half as large again.

    Raises
    ------
    InvalidArgumentError
        If a number is out of range, or shards are asked of format 2.
    MissingPackageError
        If tensorstore is needed and not installed.

    Examples
    --------
    >>> OutputStorage(dtype="u1", chunks=(64, 64, 64)).together((512, 512, 512)) is None
    True
    >>> OutputStorage(dtype="u1", chunks=(64, 64, 64), format=3, shards=(256, 256, 256)).together((512, 512, 512))
    (256, 256, 256)
    """

    dtype: npt.DTypeLike
    chunks: Shape
    format: OutputFormat = 2
    shards: Shape | None = None
    level: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunks", as_shape(self.chunks, "chunks"))
        if self.format not in (2, 3):
            raise InvalidArgumentError(f"there is no zarr format {self.format!r} to write; expected 2 or 3")
        if self.format == 2 and self.shards is not None:
            raise InvalidArgumentError("zarr format 2 has no shards; give format 3 with them")
        if min(self.chunks) < 1 or min(self.shards or self.chunks) < 1:
            raise InvalidArgumentError(f"chunks of {self.chunks}, shards of {self.shards}; expected at least 1 voxel")
        if self.format == 3:
            import_tensorstore()

    @property
    def unit(self) -> Shape:
        """What the shape of a block must be a multiple of, so that no two blocks share a chunk."""
        return self.chunks

    def together(self, shape: Sequence[int]) -> Shape | None:
        """Return what one process should write of an array of a shape: its shards; None where chunks are files.

        Others could write to the same shard, but each time all of it is written anew.
        """
        return None if self.shards is None else fit_shards(shape, self.chunks, self.shards)

    def fit_block(self, block_shape: Sequence[int], shape: Sequence[int]) -> Shape:
        """Return the largest shape of blocks, of whole chunks, up to the one given, that divides shards.

        >>> storage = OutputStorage(dtype="u1", chunks=(64, 64, 64))
        >>> storage.fit_block((500, 192, 64), (1000, 1000, 1000))
        (500, 192, 64)
        """
        shards = self.together(shape)
        if shards is None:
            return as_shape(block_shape)
        parts = zip(shards, self.chunks, block_shape, strict=True)
        return as_shape([_largest_part(shard // chunk, wanted // chunk) * chunk for shard, chunk, wanted in parts])

    def count_files(self, shape: Sequence[int]) -> int:
        """Return how many files an array of a shape has at most; chunks that hold zeros alone have none.

        >>> OutputStorage(dtype="u1", chunks=(96, 96, 96)).count_files((10_000, 10_000, 10_000))
        1157625
        """
        sizes = self.together(shape) or self.chunks
        return math.prod(math.ceil(n / size) for n, size in zip(shape, sizes, strict=True))


def _largest_part(count: int, most: int) -> int:
    """Return the largest number that divides a count, up to another."""
    return next(part for part in range(max(1, min(count, most)), 0, -1) if count % part == 0)


def create_output(
    path: str | os.PathLike[str],
    grids: Sequence[Grid],
    storage: OutputStorage,
    attributes: Mapping[str, Any] | None = None,
    *,
    first: int = 0,
) -> None:
    """Create a multiscale group with empty levels, in place of those that are there.

    Parameters
    ----------
    path : path-like
        Local folder of the group.
    grids : sequence of Grid
        Of its levels ``s0``, ``s1``, ..., finest first.
    storage : OutputStorage
        How they are stored. Format 2 is described as OME-NGFF 0.4, format 3 as 0.5.
    attributes : mapping, optional
        Further attributes of the group.
    first : int
        The first level to create; those before it are there, and stay.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, open_volume
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_output(f"{folder}/a.zarr/mito", [grid], OutputStorage(dtype="u1", chunks=(4, 4, 4)))
    ...     open_output_array(f"{folder}/a.zarr/mito/s0")[:4] = 1
    ...     int(open_volume(f"{folder}/a.zarr/mito").levels[0].array[...].sum())
    256
    """
    from csc_data.formats.writing import create_array, ensure_groups, write_json

    folder = Path(path)
    levels = [(f"s{number}", grid) for number, grid in enumerate(grids)]
    ensure_groups(folder.parent, zarr_format=storage.format)
    if first == 0:
        for name in [".zgroup", ".zattrs"] if storage.format == 3 else [METADATA]:
            (folder / name).unlink(missing_ok=True)
    for stale in folder.glob("s*"):
        if stale.name[1:].isdigit() and int(stale.name[1:]) >= first:
            shutil.rmtree(stale)
    for name, grid in levels[first:]:
        if storage.format == 2:
            create_array(
                folder / name,
                shape=grid.shape,
                dtype=storage.dtype,
                chunks=storage.chunks,
                level=storage.level,
                attributes=grid_attributes(grid),
            )
        else:
            write_json(folder / name / METADATA, _sharded(grid, storage))
    described = multiscale_attributes(folder.name, levels)
    if storage.format == 3:
        (image,) = described["multiscales"]
        del image["version"]  # 0.5 has it one level up
        described = {"ome": {"version": "0.5", "multiscales": [image]}}
    ensure_groups(folder, {**described, **(attributes or {})}, zarr_format=storage.format)


def _sharded(grid: Grid, storage: OutputStorage) -> dict[str, Any]:
    packing = Packing(dtype=np.dtype(storage.dtype), chunks=storage.chunks, level=storage.level)
    shards = storage.together(grid.shape) or storage.chunks
    return {**sharded_metadata(grid.shape, shards, packing), "attributes": grid_attributes(grid)}


def open_output_array(path: str | os.PathLike[str]) -> WritableArray:
    """Open a level that was created, for writing.

    Raises
    ------
    MissingDataError
        If there is no array.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_output(f"{folder}/mito", [grid], OutputStorage(dtype="u1", chunks=(4, 4, 4)))
    ...     open_output_array(f"{folder}/mito/s0").shape
    (8, 8, 8)
    """
    if (Path(path) / METADATA).exists():
        return ShardedArray(Path(path))
    from csc_data.formats.writing import open_array_for_writing

    array: WritableArray = open_array_for_writing(path)
    return array
