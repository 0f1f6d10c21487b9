"""Opens whatever people have."""

from __future__ import annotations

import os
from pathlib import Path

from csc_data.converting.sources.hdf5 import HDF5_SUFFIXES, open_hdf5
from csc_data.converting.sources.numpy_files import NUMPY_SUFFIXES, open_numpy
from csc_data.converting.sources.source import Source
from csc_data.converting.sources.tiff import TIFF_SUFFIXES, open_slices, open_tiff, slice_files
from csc_data.converting.sources.zarr_arrays import open_zarr
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.storage.paths import is_remote


def open_source(
    path: str | os.PathLike[str], array: str | None = None, *, gaps: bool = False, known: bool = False
) -> Source:
    """Open a TIFF, a folder of them, HDF5, numpy, zarr or N5; what it is is told by its name.

    Parameters
    ----------
    path : path-like
        Local path; of zarr and N5 also a URL.
    array : str, optional
        Name of the array within; not needed where there is only one.
    gaps : bool
        Whether numbers of slices may be missing.
    known : bool
        Whether the voxel size is known already.

    Raises
    ------
    MissingDataError
        If there is nothing.
    MissingPackageError
        If it needs a package that is not installed.
    InvalidArgumentError
        If it was not said which of several arrays, or slices are missing.
    UnreadableDataError
        If it is damaged, or not three-dimensional.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "stack.npz"), raw=np.ones((4, 5, 6), np.uint8))
    ...     open_source(Path(folder, "stack.npz")).shape
    (4, 5, 6)
    """
    if is_remote(path):
        return open_zarr(path, array, known=known)
    place = Path(path)
    suffix = place.suffix.lower()
    if not place.exists():
        raise MissingDataError(f"there is no {place}")
    if place.is_dir():
        return open_slices(place, gaps=gaps) if slice_files(place) else open_zarr(place, array, known=known)
    if suffix in TIFF_SUFFIXES:
        return open_tiff(place)
    if suffix in HDF5_SUFFIXES:
        return open_hdf5(place, array)
    if suffix in NUMPY_SUFFIXES:
        return open_numpy(place, array)
    if suffix == ".zip":
        return open_zarr(f"zip://::{place.absolute()}", array, known=known)
    raise InvalidArgumentError(
        f"{place} is not known by its name; expected .tif, .tiff, .h5, .hdf5, .npy, .npz, a folder of TIFF slices, "
        "zarr or N5"
    )
