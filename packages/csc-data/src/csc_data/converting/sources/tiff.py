"""Stacks of TIFF: one file of many pages (also BigTIFF, ImageJ's and OME's), or a folder of numbered slices."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from csc_data.converting.sources.source import Source, file_stamp, import_converter
from csc_data.converting.sources.tiff_pages import Pages, PlainStack, stored_page
from csc_data.converting.sources.tiff_voxel_size import tiff_voxel_size
from csc_data.errors import InvalidArgumentError, UnreadableDataError
from csc_data.geometry import as_shape
from csc_data.wording import listed, plural

TIFF_SUFFIXES = (".tif", ".tiff")

_MANY = "ZIQT"  # axes that slices of a stack lie along; programs that know no z call it time, or do not say


def open_tiff(path: Path) -> Source:
    """Open a file of pages.

    Raises
    ------
    MissingPackageError
        If tifffile is not installed.
    UnreadableDataError
        If it is not a TIFF, not three-dimensional, in colour, or its pages differ in size.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(Path(folder, "stack.tif"), np.ones((4, 5, 6), np.uint8), photometric="minisblack")
    ...     source = open_tiff(Path(folder, "stack.tif"))
    ...     print(source.shape, source.voxel_size)
    (4, 5, 6) None
    """
    tifffile = import_converter("tifffile", "a TIFF")
    try:
        with tifffile.TiffFile(path) as file:
            series = _only_series(path, file)
            shape = as_shape(
                [n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in _single(series)]
            )
            size, origin = tiff_voxel_size(file)
            common: dict[str, Any] = {
                "name": str(path),
                "shape": shape,
                "dtype": series.dtype.newbyteorder("="),
                "voxel_size": size,
                "said": () if size is None else (f"the voxel size is that of the {origin} metadata",),
                "stamp": file_stamp(path),
            }
            if series.dataoffset is not None:
                dtype = np.dtype(file.byteorder + series.dtype.char)
                return Source(read=PlainStack(path=path, dtype=dtype, offset=series.dataoffset, shape=shape), **common)
            pages = tuple(stored_page(path, page, series.keyframe) for page in series.pages)
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError) as error:
        raise UnreadableDataError(f"{path} cannot be read as TIFF: {error}") from error
    if len(pages) != shape[0]:
        raise UnreadableDataError(f"{path} has {plural(len(pages), 'page')}, but says that there are {shape[0]} slices")
    return Source(read=Pages(pages=pages, dtype=common["dtype"]), **common)


def _only_series(path: Path, file: Any) -> Any:
    if len(file.series) != 1:
        shapes = list(dict.fromkeys("x".join(map(str, series.shape)) for series in file.series))
        if len(shapes) > 1:
            raise UnreadableDataError(f"{path}: its slices have different sizes: {listed(shapes)}; make them one")
        raise UnreadableDataError(f"{path} holds {len(file.series)} images; write each to a file of its own")
    series = file.series[0]
    _check_grey(path, series.axes, series.shape)
    kept = [axis for axis in series.axes if axis not in _single(series)]
    if len(kept) != 3 or kept[0] not in _MANY or kept[1:] != ["Y", "X"]:
        raise UnreadableDataError(
            f"{path} has the axes {series.axes} of {'x'.join(map(str, series.shape))}; expected slices of one channel "
            "(z, y, x): write each channel or time to a file of its own"
        )
    return series


def _check_grey(path: Path, axes: str, shape: tuple[int, ...]) -> None:
    if "S" in axes:
        raise UnreadableDataError(
            f"{path} is in colour ({shape[axes.index('S')]} samples a pixel); make it grey first, in ImageJ by Image > "
            "Type > 8-bit"
        )


def _single(series: Any) -> set[str]:
    """Return the axes of length 1 that are left out so that three are left."""
    found = [axis for axis, n in zip(series.axes, series.shape, strict=True) if n == 1 and axis not in "YX"]
    # A slice alone is a stack of one.
    found.sort(key=lambda axis: axis in _MANY)
    return set(found[: max(0, len(series.axes) - 3)])


def open_slices(folder: Path, *, gaps: bool = False) -> Source:
    """Open a folder of numbered slices, in the order of the numbers.

    Parameters
    ----------
    folder : Path
    gaps : bool
        Whether numbers may be missing: the slices close up.

    Raises
    ------
    MissingPackageError
        If tifffile is not installed.
    InvalidArgumentError
        If slices have no number, the same number, or some are missing.
    UnreadableDataError
        If one is not a TIFF of one grey page, or they differ in size or type.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in range(3):
    ...         tifffile.imwrite(Path(folder, f"slice_{number}.tif"), np.full((5, 6), number, np.uint8))
    ...     source = open_slices(Path(folder))
    ...     print(source.shape, source.read((slice(0, 3), slice(0, 1), slice(0, 1))).ravel().tolist())
    (3, 5, 6) [0, 1, 2]
    """
    tifffile = import_converter("tifffile", "a TIFF")
    files, said = _in_order(folder, gaps=gaps)
    pages, first = [], None
    for path in files:
        try:
            with tifffile.TiffFile(path) as file:
                count, page = len(file.pages), file.pages.first
                page.decode  # noqa: B018 (made while the file is open)
        except (tifffile.TiffFileError, ValueError, IndexError, KeyError) as error:
            raise UnreadableDataError(f"{path} cannot be read as TIFF: {error}") from error
        _check_grey(path, page.axes, page.shape)
        if count != 1 or len(page.shape) != 2:
            raise UnreadableDataError(f"{path} has {plural(count, 'page')}; expected a slice in each file of a folder")
        form = (page.shape, page.dtype)
        first = first or (path, form)
        if form != first[1]:
            (a, kind), (b, other) = first[1], form
            raise UnreadableDataError(
                f"{folder}: slices differ: {first[0].name} has {a[0]}x{a[1]} pixels of {kind}, {path.name} "
                f"{b[0]}x{b[1]} of {other}"
            )
        pages.append(stored_page(path, page, page))
    height, width = pages[0].key.shape
    stamps = [file_stamp(path) for path in files]
    return Source(
        name=str(folder),
        shape=(len(pages), height, width),
        dtype=(dtype := pages[0].key.dtype.newbyteorder("=")),
        read=Pages(pages=tuple(pages), dtype=dtype),
        said=said,
        stamp=(str(folder.absolute()), len(files), sum(size for _, size, _ in stamps), max(at for _, _, at in stamps)),
    )


def slice_files(folder: Path) -> list[Path]:
    """Return the TIFF files of a folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("slice_1.tif", "slice_0.TIF", "notes.txt"):
    ...         Path(folder, name).touch()
    ...     [path.name for path in slice_files(Path(folder))]
    ['slice_0.TIF', 'slice_1.tif']
    """
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in TIFF_SUFFIXES and path.name[0] != ".")


def _in_order(folder: Path, *, gaps: bool) -> tuple[list[Path], tuple[str, ...]]:
    numbered: dict[int, Path] = {}
    for path in slice_files(folder):
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise InvalidArgumentError(f"{path} has no number in its name; slices are taken in the order of numbers")
        other = numbered.setdefault(int(digits[-1]), path)
        if other != path:
            raise InvalidArgumentError(f"{folder}: {other.name} and {path.name} have the same number {digits[-1]}")
    numbers = sorted(numbered)
    step = math.gcd(*(b - a for a, b in itertools.pairwise(numbers))) or 1
    missing = sorted(set(range(numbers[0], numbers[-1] + 1, step)) - numbered.keys())
    said = f"{plural(len(missing), 'slice')} of {folder} missing: number {listed(missing)}"
    if missing and not gaps:
        raise InvalidArgumentError(f"{said}; put them there, or close up by --close-gaps")
    return [numbered[number] for number in numbers], (f"{said}; the others close up",) if missing else ()
