"""Plain zarr arrays and groups, the same under zarr 2.18 and zarr 3.

Arrays are written in zarr format 2, which the challenge uses; format 3 is read where zarr 3 is installed. Nothing above
this module needs to know which zarr it runs on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.errors
from numcodecs import Blosc

from csc_data.config.user_config import choose_endpoint
from csc_data.errors import CscError, ExistingOutputError, MissingDataError, UnreadableDataError
from csc_data.storage.atomic import replace_text
from csc_data.storage.nodes import read_node
from csc_data.storage.paths import is_remote as is_remote
from csc_data.storage.paths import join as join
from csc_data.storage.remote import attempt, open_filesystem, storage_options

ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3

_METADATA = (".zarray", ".zgroup", "zarr.json")

OPENING_ERRORS: tuple[type[Exception], ...] = (
    ValueError,  # of which json.JSONDecodeError is one
    KeyError,
    TypeError,
    AttributeError,  # where metadata is JSON, but no object
    FileNotFoundError,
    getattr(zarr.errors, "MetadataError", ValueError),  # zarr 2's own, a plain Exception
)
"""What zarr raises when it opens what is damaged or not there."""

_LARGEST_BLOSC_BLOCK = 2**30


def open_node(path: str | os.PathLike[str], *, endpoint: str | None = None) -> Any:
    """Open the zarr array or group at a local path or an fsspec URL for reading.

    Parameters
    ----------
    path : path-like
        Local path or URL.
    endpoint : str, optional
        Address of the S3 service, where it is not that of the configuration.

    Returns
    -------
    zarr.Array or zarr.Group
        Opened read-only; nothing is written, also not into a folder that has no ``.zgroup``.

    Raises
    ------
    MissingDataError
        If there is nothing at the path.
    UnreadableDataError
        If there is something that is neither, or a URL cannot be read.
    """
    text = os.fspath(path)
    remote = is_remote(text)
    if remote:
        endpoint = choose_endpoint(text, endpoint)
        node = read_node(text, endpoint=endpoint)  # an error of the network is not taken for nothing being there
        if node.format == "n5":
            raise UnreadableDataError(f"{text} is N5, not zarr; open_volume reads it")
        newer = node.format == "zarr 3"
    else:
        folder = Path(text)
        if not folder.exists():
            raise MissingDataError(f"{text} does not exist")
        if not any((folder / name).exists() for name in _METADATA):
            raise MissingDataError(f"{text} holds no zarr array or group (none of {', '.join(_METADATA)} is in it)")
        newer = (folder / "zarr.json").exists() and not (folder / ".zarray").exists()
    if newer and not ZARR_3:
        raise UnreadableDataError(f"{text} is in zarr format 3; installing zarr>=3 makes it readable")
    try:
        return attempt(text, lambda: _open_url(text, endpoint)) if remote else zarr.open(text, mode="r")
    except OPENING_ERRORS as error:
        if isinstance(error, CscError):
            raise
        raise UnreadableDataError(f"{text} cannot be opened as zarr: {error}") from error


def _open_url(url: str, endpoint: str | None) -> Any:
    if ZARR_3:
        store = zarr.storage.FsspecStore.from_url(url, storage_options(url, endpoint=endpoint), read_only=True)
        return zarr.open(store, mode="r")
    files, path = open_filesystem(url, endpoint=endpoint)
    # By default this store takes whatever goes wrong for a chunk that is not stored, and zarr fills it in.
    missing = (KeyError, FileNotFoundError)
    return zarr.open(zarr.storage.FSStore(path, fs=files, mode="r", exceptions=missing), mode="r")


def open_array(path: str | os.PathLike[str], *, endpoint: str | None = None) -> Any:
    """Open the zarr array at a path for reading.

    Raises
    ------
    MissingDataError
        If there is nothing at the path.
    UnreadableDataError
        If it is no array, or cannot be read.
    """
    node = open_node(path, endpoint=endpoint)
    if not is_array(node):
        raise UnreadableDataError(f"{os.fspath(path)} is a zarr group where an array was expected")
    return node


def is_array(node: object) -> bool:
    """Tell whether an opened node is an array, not a group."""
    return hasattr(node, "shape")


def child_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the arrays and groups right below a local folder, sorted.

    Folders without metadata of their own count when something below them has some: the official tools write crops
    without ``.zgroup``. Hidden folders do not count: unfinished work lies in them.
    """
    folder = Path(path)
    if not folder.is_dir():
        return ()
    shown = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return tuple(sorted(entry.name for entry in shown if _holds_zarr(entry)))


def _holds_zarr(folder: Path) -> bool:
    if any((folder / name).exists() for name in _METADATA):
        return True
    return any(_holds_zarr(entry) for entry in folder.iterdir() if entry.is_dir())


def create_array(
    path: str | os.PathLike[str],
    *,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Any:
    """Create a zarr array (format 2, Blosc/Zstandard, fill value 0, nested chunk keys) and open it for writing.

    Parameters
    ----------
    path : path-like
        Local folder of the array; the groups above it, up to and including the ``*.zarr`` folder, get their metadata.
    shape, chunks : sequence of int
        In voxels.
    dtype : dtype
        Data type of the array.
    attributes : mapping, optional
        What ``.zattrs`` holds.
    overwrite : bool
        Whether to replace an array that is there.

    Raises
    ------
    ExistingOutputError
        If an array or group is there and ``overwrite`` was not asked for.
    """
    folder = Path(path)
    if not overwrite and any((folder / name).exists() for name in _METADATA):
        raise ExistingOutputError(f"{folder} exists; overwrite it explicitly or choose another place")
    ensure_groups(folder.parent)
    sizes = tuple(max(1, min(int(c), int(n))) for c, n in zip(chunks, shape, strict=True))
    common: dict[str, Any] = {"shape": tuple(map(int, shape)), "dtype": np.dtype(dtype), "chunks": sizes}
    # Threads of Blosc store the blocks of a chunk as they finish, so that equal data gives unequal bytes; one block to
    # a chunk has one order. Zstandard at level 3 packs annotations about 50 times.
    chunk_bytes = math.prod(sizes) * np.dtype(dtype).itemsize
    codec = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE, blocksize=min(chunk_bytes, _LARGEST_BLOSC_BLOCK))
    if ZARR_3:
        array = zarr.create_array(
            str(folder),
            zarr_format=2,
            compressors=codec,
            fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            overwrite=overwrite,
            **common,
        )
    else:
        array = zarr.open_array(
            str(folder),
            mode="w" if overwrite else "w-",
            compressor=codec,
            fill_value=0,
            dimension_separator="/",
            write_empty_chunks=False,
            **common,
        )
    if attributes:
        array.attrs.update(dict(attributes))
    return array


def open_array_for_writing(path: str | os.PathLike[str]) -> Any:
    """Open an array that exists for reading and writing.

    Raises
    ------
    MissingDataError
        If there is no array.
    """
    if not (Path(path) / ".zarray").exists():
        raise MissingDataError(f"{os.fspath(path)} holds no zarr format 2 array to write to")
    return zarr.open_array(str(path), mode="r+")


def ensure_groups(folder: str | os.PathLike[str], attributes: Mapping[str, Any] | None = None) -> None:
    """Write group metadata (format 2) for a folder and those above it, up to and including the ``*.zarr`` folder.

    Nothing that exists is changed, but for the attributes of the folder itself, which are updated when given.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for place in (path, *path.parents):
        if not (place / ".zgroup").exists() and not (place / "zarr.json").exists():
            write_json(place / ".zgroup", {"zarr_format": 2})
        if place.suffix == ".zarr":
            break
        if place == path and not _inside_zarr(path):
            break
    if attributes:
        known = read_json(path / ".zattrs")
        write_json(path / ".zattrs", {**known, **attributes})


def _inside_zarr(path: Path) -> bool:
    return any(place.suffix == ".zarr" for place in (path, *path.parents))


def read_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the attributes of an array or group; empty where a folder has no metadata of its own."""
    folder = os.fspath(path)
    if is_remote(folder):
        return dict(read_node(folder, endpoint=choose_endpoint(folder)).attributes)
    if (Path(folder) / ".zattrs").exists():
        return read_json(Path(folder) / ".zattrs")
    if not any((Path(folder) / name).exists() for name in _METADATA):
        return {}
    return dict(open_node(folder).attrs)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises
    ------
    UnreadableDataError
        If the file is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreadableDataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableDataError(f"{path} holds {type(value).__name__} where a JSON object was expected")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object under a temporary name, then rename it, so that no reader sees half of it."""
    replace_text(path, json.dumps(value, indent=2))
