"""Arrays of zarr format 3, written by tensorstore: many chunks in one file, a shard, where zarr 2 is installed, too.

Several processes may write to one shard, on a shared folder, too: tensorstore writes a shard anew with what was changed
in it, under a lock of the file system, and does so again if another was faster. A process that is killed leaves the
shard as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.errors import UnreadableDataError, import_extra
from csc_data.formats.array_metadata import ArrayMetadata
from csc_data.formats.format3 import parse_format3
from csc_data.geometry import Shape, as_shape

METADATA = "zarr.json"

_NUMBERS = {"name": "bytes", "configuration": {"endian": "little"}}


def import_tensorstore() -> Any:
    """Return the package that writes shards.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    return import_extra("tensorstore", "zarr format 3", "csc-data[sharded]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What chunks hold, and how they are packed: by Blosc and Zstandard, as in our format 2."""

    dtype: np.dtype[Any]
    chunks: Shape
    level: int

    def codecs(self) -> list[dict[str, Any]]:
        """Return the codecs of a chunk, as ``zarr.json`` names them.

        Examples
        --------
        >>> [codec["name"] for codec in Packing(dtype=np.dtype("u1"), chunks=(64, 64, 64), level=1).codecs()]
        ['bytes', 'blosc']
        """
        size = self.dtype.itemsize
        blosc = {
            "cname": "zstd",
            "clevel": self.level,
            "shuffle": "noshuffle" if size == 1 else "shuffle",
            "typesize": size,
            # One block to a chunk: several could be stored in the order in which threads finish them.
            "blocksize": math.prod(self.chunks) * size,
        }
        return [_NUMBERS, {"name": "blosc", "configuration": blosc}]


def sharded_metadata(shape: Shape, shards: Shape, packing: Packing) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array whose chunks lie in shards, without its attributes.

    Examples
    --------
    >>> packing = Packing(dtype=np.dtype("u1"), chunks=(64, 64, 64), level=1)
    >>> sharded_metadata((512, 512, 512), (256, 256, 256), packing)["codecs"][0]["name"]
    'sharding_indexed'
    """
    codecs = packing.codecs()
    sharding = {
        "chunk_shape": list(packing.chunks),
        "codecs": codecs,
        "index_codecs": [_NUMBERS, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": packing.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shards)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs if shards == packing.chunks else [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["z", "y", "x"],
    }


class ShardedArray:
    """An array of format 3 to write to: ``array[box] = values``, as one of zarr.

    Parameters
    ----------
    path : Path
        Its folder.

    Attributes
    ----------
    shape : tuple of int
        Voxels.
    chunks : tuple of int
        Voxels of a shard: what is written piece by piece should be written by as much of it as can be, as a file is
        written anew each time.

    Raises
    ------
    MissingPackageError
        If tensorstore is not installed.
    UnreadableDataError
        If there is no array of three dimensions that it can write.
    """

    def __init__(self, path: Path) -> None:
        tensorstore = import_tensorstore()
        try:
            metadata: ArrayMetadata = parse_format3(json.loads((path / METADATA).read_text(encoding="utf-8")))
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
            self._array = tensorstore.open(spec, open=True).result()
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise UnreadableDataError(f"{path} cannot be written to: {error}") from error
        self.path = path
        self.shape, self.chunks = as_shape(metadata.shape), as_shape(self._array.chunk_layout.write_chunk.shape)

    def __setitem__(self, box: Any, values: npt.ArrayLike) -> None:
        try:
            self._array[box].write(np.asarray(values)).result()
        except (ValueError, OSError) as error:  # tensorstore has no error of its own for a full disk
            raise UnreadableDataError(f"{self.path} cannot be written to: {error}") from error

    def __getitem__(self, box: Any) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self._array[box].read().result()
        return found


def fit_shards(shape: Sequence[int], chunks: Sequence[int], shards: Sequence[int]) -> Shape:
    """Return the shape of shards that hold whole chunks, not more than the array has.

    Up to a quarter is added where the number of chunks can be divided in more ways then: blocks are parts of shards.

    >>> fit_shards((5000, 100, 64), (96, 64, 64), (1000, 1000, 1000))
    (1152, 128, 64)
    """
    counts = [
        min(math.ceil(shard / chunk), max(1, math.ceil(size / chunk)))
        for size, chunk, shard in zip(shape, chunks, shards, strict=True)
    ]
    return as_shape([_round_up(count) * chunk for count, chunk in zip(counts, chunks, strict=True)])


def _round_up(count: int) -> int:
    return max(range(count, count + count // 4 + 1), key=lambda n: sum(n % part == 0 for part in range(1, n + 1)))
