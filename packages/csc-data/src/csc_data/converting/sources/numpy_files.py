"""Arrays of numpy: ``.npy``, of which only what is needed is read, and ``.npz``, of which an array is held whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from csc_data.converting.sources.source import Source, boxes_of, choose_name, file_stamp, shape_of, spatial_axes
from csc_data.errors import UnreadableDataError

NUMPY_SUFFIXES = (".npy", ".npz")


def open_numpy(path: Path, array: str | None = None) -> Source:
    """Open a file of numpy; of an ``.npz`` the array of a name, or the only one.

    Raises
    ------
    InvalidArgumentError
        If the array is not there, or it was not said which of several.
    UnreadableDataError
        If the file is damaged, holds Python objects, or the array is not three-dimensional.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "stack.npz"), raw=np.ones((4, 5, 6), np.uint8))
    ...     source = open_numpy(Path(folder, "stack.npz"))
    ...     print(source.shape, source.dtype, int(source.read((slice(0, 1), slice(0, 5), slice(0, 6))).sum()))
    (4, 5, 6) uint8 30
    """
    label = str(path)
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                name = choose_name(path, list(file.files), array)
                stored, label = file[name], f"{path}: {name}"
        else:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableDataError(f"{path} cannot be read as a file of numpy: {error}") from error
    axes = spatial_axes(label, stored.shape)
    return Source(
        name=label,
        shape=shape_of(stored, axes),
        dtype=stored.dtype,
        read=boxes_of(stored, axes),
        stamp=(*file_stamp(path), array),
    )
