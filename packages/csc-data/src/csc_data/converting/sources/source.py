"""An array in somebody's file, of which boxes are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import InvalidArgumentError, UnreadableDataError, import_extra
from csc_data.geometry import Shape, Triple, as_shape
from csc_data.wording import listed

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An array of three axes.

    Attributes
    ----------
    name : str
        Its file, and the name in it; for messages.
    shape : tuple of int
        Voxels, z, y, x.
    dtype : dtype
        As it is stored.
    read : callable
        Gives the values of a box of slices that lies within the shape.
    voxel_size, translation : tuple of float, optional
        nm, z, y, x, where the file says it and it is sure.
    said : tuple of str
        What people should know: where the voxel size comes from, slices that are missing.
    stamp : list
        JSON values that change when the file does.
    meaning : mapping
        What is stored beside the array, for those that write it to another file.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    read: Callable[[Box], npt.NDArray[Any]]
    voxel_size: Triple | None = None
    translation: Triple | None = None
    said: tuple[str, ...] = ()
    stamp: tuple[Any, ...] = ()
    meaning: Any = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise UnreadableDataError(f"{self.name} holds no voxels: its shape is {self.shape}")
        if self.dtype.kind not in "buif":
            raise UnreadableDataError(f"{self.name} holds values of type {self.dtype}; expected numbers")


def spatial_axes(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the three axes of an array that are z, y, x; further ones must be of length 1.

    Raises
    ------
    UnreadableDataError
        If there are fewer or more; a colour image is recognised.

    Examples
    --------
    >>> spatial_axes("a.h5", (1, 1, 20, 30, 40)), spatial_axes("a.h5", (20, 30, 40, 1))
    ((2, 3, 4), (0, 1, 2))
    """
    axes = list(range(len(shape)))
    while len(axes) > 3:
        single = next((axis for axis in axes if shape[axis] == 1), None)
        if single is None:
            break
        axes.remove(single)
    # Three voxels along x beside hundreds along z and y are the colours of a picture.
    if (len(axes) == 4 or (len(axes) == 3 and min(shape[:2]) > 16)) and shape[-1] in (3, 4):
        raise UnreadableDataError(f"{name} is in colour, its shape is {tuple(shape)}; make it grey first")
    if len(axes) != 3:
        remedy = "stack the slices" if len(axes) < 3 else "write each channel or time to a file of its own"
        raise UnreadableDataError(
            f"{name} has the shape {tuple(shape)}; expected three axes, z, y, x, and others of length 1: {remedy}"
        )
    z, y, x = axes
    return z, y, x


def boxes_of(array: Any, axes: Sequence[int]) -> Callable[[Box], npt.NDArray[Any]]:
    """Return the function that reads boxes of an array that is sliced, leaving out its axes of length 1.

    Examples
    --------
    >>> stack = np.arange(24).reshape(2, 1, 3, 4)  # of shape z, channel, y, x
    >>> boxes_of(stack, (0, 2, 3))((slice(1, 2), slice(0, 1), slice(0, 4))).tolist()
    [[[12, 13, 14, 15]]]
    """

    def read(box: Box) -> npt.NDArray[Any]:
        index: list[Any] = [0] * len(array.shape)
        for axis, part in zip(axes, box, strict=True):
            index[axis] = part
        return np.asarray(array[tuple(index)])

    return read


def shape_of(array: Any, axes: Sequence[int]) -> Shape:
    """Return the lengths of some axes of an array.

    Examples
    --------
    >>> shape_of(np.zeros((2, 1, 3, 4)), (0, 2, 3))
    (2, 3, 4)
    """
    return as_shape([array.shape[axis] for axis in axes])


def choose_name(path: object, found: Sequence[str], wanted: str | None) -> str:
    """Return the name of the array to take: the one that is asked for, or the only one.

    Raises
    ------
    InvalidArgumentError
        If it is not there, or it was not said which of several; the text lists them.

    Examples
    --------
    >>> choose_name("stack.h5", ["raw"], None)
    'raw'
    >>> choose_name("stack.h5", ["raw", "labels"], None)
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: stack.h5 holds raw, labels; say which by --array
    """
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted is not None and wanted.strip("/") in found:
        return wanted.strip("/")
    if not found:
        raise InvalidArgumentError(f"{path} holds no array")
    asked = "say which by --array" if wanted is None else f"there is no {wanted!r}"
    raise InvalidArgumentError(f"{path} holds {listed(found)}; {asked}")


def file_stamp(path: Path) -> tuple[str, int, int]:
    """Return the place, the size and the time of change of a file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "stack.npy")
    ...     _ = file.write_bytes(b"1234")
    ...     file_stamp(file)[1]
    4
    """
    found = path.stat()
    return str(path.absolute()), found.st_size, found.st_mtime_ns


def import_converter(name: str, what: str) -> ModuleType:
    """Import a package that the extra ``convert`` brings.

    Raises
    ------
    MissingPackageError
        If it is not installed.

    Examples
    --------
    >>> import_converter("tifffile", "a TIFF").__name__
    'tifffile'
    """
    module: ModuleType = import_extra(name, what, "csc-data[convert]")
    return module
