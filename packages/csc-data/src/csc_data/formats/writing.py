"""Plain zarr arrays and groups, written the same under zarr 2.18 and zarr 3.

Arrays are written in zarr format 2, which the challenge uses. Nothing above this module needs to know which zarr it
runs on; reading (`csc_data.formats.reading`) needs none.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Blosc

from csc_data.config.user_config import choose_endpoint
from csc_data.errors import ExistingOutputError, MissingDataError
from csc_data.storage.atomic import replace_text
from csc_data.storage.nodes import parse_document, read_nodes
from csc_data.storage.paths import is_remote as is_remote
from csc_data.storage.paths import join as join
from csc_data.storage.stores.places import open_place

ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3

_METADATA = (".zarray", ".zgroup", "zarr.json")

_LARGEST_BLOSC_BLOCK = 2**30


def create_array(
    path: str | os.PathLike[str],
    *,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    level: int = 3,
    labels: bool = False,
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
    level : int
        Of compression, 1 to 9. Probabilities, which vary from voxel to voxel, are packed by 1 in a tenth of the time
        to half as much again.
    labels : bool
        Whether it will hold masks or ids. Bits of equal weight are then put together before compression, not bytes,
        and the level is 1: half as large as by bytes and level 3, in a tenth of the time. Other values gain nothing.

    Raises
    ------
    ExistingOutputError
        If an array or group is there and ``overwrite`` was not asked for.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array, read_attributes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     array = create_array(
    ...         f"{folder}/a.zarr/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2), attributes={"unknown": 255}
    ...     )
    ...     array[0] = 7
    ...     print(int(array[...].sum()), read_attributes(f"{folder}/a.zarr/s0"))
    112 {'unknown': 255}
    """
    folder = Path(path)
    if not overwrite and any((folder / name).exists() for name in _METADATA):
        raise ExistingOutputError(f"{folder} exists; overwrite it explicitly or choose another place")
    ensure_groups(folder.parent)
    sizes = tuple(max(1, min(int(c), int(n))) for c, n in zip(chunks, shape, strict=True))
    common: dict[str, Any] = {"shape": tuple(map(int, shape)), "dtype": np.dtype(dtype), "chunks": sizes}
    # Threads of Blosc store the blocks of a chunk as they finish, so that equal data gives unequal bytes; one block to
    # a chunk has one order.
    chunk_bytes = math.prod(sizes) * np.dtype(dtype).itemsize
    how = {"clevel": 1, "shuffle": Blosc.BITSHUFFLE} if labels else {"clevel": level, "shuffle": Blosc.SHUFFLE}
    codec = Blosc(cname="zstd", blocksize=min(chunk_bytes, _LARGEST_BLOSC_BLOCK), **how)
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

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = create_array(f"{folder}/s0", shape=(4, 4, 4), dtype="u1", chunks=(2, 2, 2))
    ...     open_array_for_writing(f"{folder}/s0")[0, 0, 0] = 7
    ...     int(open_array_for_writing(f"{folder}/s0")[...].sum())
    7
    """
    if not (Path(path) / ".zarray").exists():
        raise MissingDataError(f"{os.fspath(path)} holds no zarr format 2 array to write to")
    return zarr.open_array(str(path), mode="r+")


def ensure_groups(
    folder: str | os.PathLike[str], attributes: Mapping[str, Any] | None = None, *, zarr_format: Literal[2, 3] = 2
) -> None:
    """Write group metadata for a folder and those above it, up to and including the ``*.zarr`` folder.

    Nothing that exists is changed, but for the attributes of the folder itself, which are updated when given.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ensure_groups(f"{folder}/a.zarr/recon-1/em", {"author": "me"})
    ...     print((Path(folder) / "a.zarr" / ".zgroup").exists(), read_attributes(f"{folder}/a.zarr/recon-1/em"))
    True {'author': 'me'}
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for place in (path, *path.parents):
        if not (place / ".zgroup").exists() and not (place / "zarr.json").exists():
            if zarr_format == 2:
                write_json(place / ".zgroup", {"zarr_format": 2})
            else:
                write_json(place / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}})
        if place.suffix == ".zarr":
            break
        if place == path and not _inside_zarr(path):
            break
    if not attributes:
        return
    if (path / ".zgroup").exists():
        write_json(path / ".zattrs", {**read_json(path / ".zattrs"), **attributes})
    else:
        group = read_json(path / "zarr.json")
        write_json(path / "zarr.json", {**group, "attributes": {**group.get("attributes", {}), **attributes}})


def _inside_zarr(path: Path) -> bool:
    return any(place.suffix == ".zarr" for place in (path, *path.parents))


def read_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the attributes of an array or group; empty where a folder has no metadata of its own.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ensure_groups(f"{folder}/a.zarr", {"author": "me"})
    ...     read_attributes(f"{folder}/a.zarr")
    {'author': 'me'}
    """
    (node,) = read_nodes(open_place(path, endpoint=choose_endpoint(path)), [""])
    return {} if node is None else dict(node.attributes)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises
    ------
    UnreadableDataError
        If the file is not a JSON object.

    Examples
    --------
    >>> from pathlib import Path
    >>> read_json(Path("nowhere.json"))
    {}
    """
    try:
        return parse_document(str(path), path.read_bytes())
    except FileNotFoundError:
        return {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object under a temporary name, then rename it, so that no reader sees half of it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder, ".zattrs"), {"unknown": 255})
    ...     read_json(Path(folder, ".zattrs"))
    {'unknown': 255}
    """
    replace_text(path, json.dumps(value, indent=2))
