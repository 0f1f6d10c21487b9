"""Arrays of HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.converting.sources.source import (
    Box,
    Source,
    boxes_of,
    choose_name,
    file_stamp,
    import_converter,
    shape_of,
    spatial_axes,
)
from csc_data.errors import UnreadableDataError
from csc_data.formats.ngff import as_voxel_size, stated_place

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boxes:
    """Reads boxes; the file is open only meanwhile."""

    path: Path
    name: str
    axes: tuple[int, int, int]

    def __call__(self, box: Box) -> npt.NDArray[Any]:
        h5py = import_converter("h5py", "an HDF5 file")
        try:
            with h5py.File(self.path, "r") as file:
                return boxes_of(file[self.name], self.axes)(box)
        except (OSError, KeyError) as error:
            raise UnreadableDataError(f"{self.path}: {self.name} cannot be read: {error}") from error


def open_hdf5(path: Path, array: str | None = None) -> Source:
    """Open an array of a file: the one of a name, or the only one.

    Its attributes may state ``voxel_size`` or ``resolution``, ``translation`` or ``offset`` in nm, or
    ``element_size_um`` (z, y, x).

    Raises
    ------
    MissingPackageError
        If h5py is not installed.
    InvalidArgumentError
        If it is not there, or it was not said which of several.
    UnreadableDataError
        If the file is not HDF5, or the array is not three-dimensional.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(Path(folder, "stack.h5"), "w") as file:
    ...         file.create_dataset("raw", data=np.ones((4, 5, 6), np.uint8)).attrs["voxel_size"] = (8, 4, 4)
    ...     source = open_hdf5(Path(folder, "stack.h5"))
    ...     print(source.shape, source.voxel_size)
    (4, 5, 6) (8.0, 4.0, 4.0)
    """
    h5py = import_converter("h5py", "an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            found: list[str] = []
            file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
            name = choose_name(path, found, array)
            stored = file[name]
            label = f"{path}: {name}"
            axes = spatial_axes(label, stored.shape)
            attributes = {key: np.asarray(value).tolist() for key, value in stored.attrs.items()}
            shape, dtype = shape_of(stored, axes), np.dtype(stored.dtype)
    except OSError as error:
        raise UnreadableDataError(f"{path} cannot be read as HDF5: {error}") from error
    size, translation = stated_place(label, attributes)
    if size is None and "element_size_um" in attributes:
        size = as_voxel_size([1000 * value for value in attributes["element_size_um"]], label)
    return Source(
        name=label,
        shape=shape,
        dtype=dtype,
        read=_Boxes(path=path, name=name, axes=axes),
        voxel_size=size,
        translation=translation,
        said=() if size is None else ("the voxel size is that of the array's attributes",),
        stamp=(*file_stamp(path), name),
    )
