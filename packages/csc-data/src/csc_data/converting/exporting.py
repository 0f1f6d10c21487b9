"""Volumes as files of other programs: TIFF that ImageJ opens, HDF5, numpy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import Block, Existing, Ledger, prepare_output, run_blocks
from csc_data.converting.sources.hdf5 import HDF5_SUFFIXES
from csc_data.converting.sources.source import Source, import_converter
from csc_data.converting.sources.tiff import TIFF_SUFFIXES
from csc_data.converting.values import Progress, look_at_labels, reading_blocks
from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_data.formats.ngff import grid_attributes
from csc_data.geometry import Grid
from csc_data.storage.room import check_room

EXPORT_SUFFIXES = (*TIFF_SUFFIXES, ".h5", ".hdf5", ".npy")

_LARGEST_CLASSIC_TIFF = 4_000_000_000  # offsets have 32 bits
_IMAGEJ = "BHhf"
_HDF5_NAME = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file that was, or is to be, written.

    Attributes
    ----------
    source : Source
    grid : Grid
    path : Path
    dtype : dtype
        Of the file.
    said : tuple of str
        What people should know.
    """

    source: Source
    grid: Grid
    path: Path
    dtype: np.dtype[Any]
    said: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of the file, but for its metadata."""
        return self.grid.size * self.dtype.itemsize

    @property
    def unfinished(self) -> Path:
        """Where it is written until it is whole."""
        return self.path.with_name(f".{self.path.stem}.unfinished{self.path.suffix}")


def export_volume(
    source: Source,
    grid: Grid,
    path: str | os.PathLike[str],
    existing: Existing = "resume",
    progress: Progress | None = None,
) -> Export:
    """Write a file; it appears when it is whole. A run that was killed goes on.

    Parameters
    ----------
    source : Source
        What is written.
    grid : Grid
        Its voxel size goes into the metadata.
    path : path-like
        Ends in ``.tif``, ``.tiff``, ``.h5``, ``.hdf5`` or ``.npy``. A TIFF is one of ImageJ; above 4 GB, or with ids
        beyond 65,535, it is an OME (Big)TIFF, which Fiji opens by Bio-Formats.
    existing : {"resume", "refuse", "overwrite"}
        What to do with a file that is half written; one that is whole is only replaced by ``"overwrite"``.
    progress : callable, optional
        Called with (blocks finished, all).

    Raises
    ------
    ExistingOutputError
        If the file exists.
    InvalidArgumentError
        If it ends in something else, or its ids do not fit.
    DiskFullError
        If there is no room.
    MissingPackageError
        If tifffile or h5py is needed and not installed.
    """
    file = Path(path)
    create = _CREATE.get(file.suffix.lower())
    if create is None:
        raise InvalidArgumentError(f"{file} must end in {', '.join(EXPORT_SUFFIXES)}")
    if file.exists() and existing != "overwrite":
        raise ExistingOutputError(f"{file} exists; overwrite it, or choose another name")
    dtype, said = _tiff_type(source, progress) if create is _create_tiff else (source.dtype, ())
    export = Export(source=source, grid=grid, path=file, dtype=dtype, said=said)
    work = {"source": list(source.stamp), "shape": grid.shape, "voxel_size": grid.voxel_size, "dtype": dtype.str}
    ledger = Ledger(file.with_name(f".{file.name}.ledger"), work, outputs=(export.unfinished,))
    if existing == "overwrite" or not ledger.path.exists():
        check_room("the file takes", export.bytes, file.parent, "or choose another place")
    file.parent.mkdir(parents=True, exist_ok=True)
    prepare_output(ledger, existing, lambda: create(export))
    run_blocks(_ExportBlock(export=export), reading_blocks(source), ledger=ledger, progress=progress)
    export.unfinished.replace(file)
    ledger.path.unlink()
    return export


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExportBlock:
    """Writes a block."""

    export: Export

    def __call__(self, block: Block) -> None:
        values = self.export.source.read(block.write).astype(self.export.dtype, copy=False)
        path, suffix = self.export.unfinished, self.export.path.suffix.lower()
        if suffix in HDF5_SUFFIXES:
            with import_converter("h5py", "an HDF5 file").File(path, "r+") as file:
                file[_HDF5_NAME][block.write] = values
            return
        target: npt.NDArray[Any]
        if suffix in TIFF_SUFFIXES:
            target = import_converter("tifffile", "a TIFF").memmap(path, mode="r+")
            target.reshape(self.export.grid.shape)[block.write] = values
        else:
            target = np.lib.format.open_memmap(path, mode="r+")
            target[block.write] = values
        target.flush()  # type: ignore[attr-defined]


def _create_tiff(export: Export) -> None:
    z, y, x = export.grid.voxel_size
    form: dict[str, Any]
    if export.dtype.char in _IMAGEJ and export.bytes <= _LARGEST_CLASSIC_TIFF:
        form = {"imagej": True, "metadata": {"axes": "ZYX", "spacing": z, "unit": "nm"}, "resolution": (1 / x, 1 / y)}
    else:
        sizes: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (z, y, x), strict=True)}
        sizes |= {f"{name}Unit": "nm" for name in tuple(sizes)}
        form = {"ome": True, "bigtiff": export.bytes > _LARGEST_CLASSIC_TIFF, "metadata": {"axes": "ZYX", **sizes}}
    import_converter("tifffile", "a TIFF").memmap(
        export.unfinished, shape=export.grid.shape, dtype=export.dtype, photometric="minisblack", **form
    )


def _create_hdf5(export: Export) -> None:
    with import_converter("h5py", "an HDF5 file").File(export.unfinished, "w") as file:
        array = file.create_dataset(_HDF5_NAME, export.grid.shape, export.dtype)
        array.attrs.update(grid_attributes(export.grid))
        # So that its room is taken now: blocks then change no metadata, which a kill could leave half written.
        array[-1, -1, -1] = 0


def _create_numpy(export: Export) -> None:
    np.lib.format.open_memmap(export.unfinished, mode="w+", dtype=export.dtype, shape=export.grid.shape)


_CREATE: Mapping[str, Callable[[Export], None]] = MappingProxyType(
    {
        **dict.fromkeys(TIFF_SUFFIXES, _create_tiff),
        **dict.fromkeys(HDF5_SUFFIXES[:2], _create_hdf5),
        ".npy": _create_numpy,
    }
)


def _tiff_type(source: Source, progress: Progress | None) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Return a type that programs for TIFF read, for the values that are there."""
    kind = source.dtype
    if kind.kind == "b":
        return np.dtype(np.uint8), ()
    if kind.kind == "f":
        said = ("float64 becomes float32, which programs for TIFF read",) if kind.itemsize == 8 else ()
        return np.dtype(np.float32), said
    if kind in (np.uint8, np.uint16, np.int16):
        return kind, ()
    most = look_at_labels(source, progress=progress).most
    chosen = next((np.dtype(name) for name in ("uint8", "uint16", "uint32") if most <= np.iinfo(name).max), None)
    if chosen is None:
        raise InvalidArgumentError(f"{source.name} holds {most}, which no TIFF holds; write .h5 or .npy")
    return chosen, (f"{kind} becomes {chosen}, which holds its largest value {most}",) if chosen != kind else ()
