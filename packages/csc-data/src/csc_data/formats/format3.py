"""Metadata of arrays of zarr format 3 (https://zarr-specs.readthedocs.io/en/latest/v3/core/), sharded ones too.

They are read without zarr, so that they are read beside zarr 2 as well, and by csc-eval, which cannot wait for an
import. Known are the codecs of the specification (bytes, transpose, blosc, gzip, zstd, crc32c, sharding_indexed) and
those that zarr 3 takes from numcodecs (``numcodecs.lz4``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from csc_data.formats.array_metadata import (
    ArrayMetadata,
    ShardIndex,
    chunk_pattern,
    parse_dtype,
    parse_fill,
    parse_sizes,
)
from csc_data.formats.codecs import FILTERS, Codec, parse_codec

_TYPES = frozenset(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)) | {"bool"}
_PLAIN_CODECS = frozenset({"blosc", "crc32c", "gzip", "zstd"})
_SHARDS = "sharding_indexed"


def parse_format3(metadata: Mapping[str, Any]) -> ArrayMetadata:
    """Return what a ``zarr.json`` says of an array.

    Raises
    ------
    KeyError, ValueError, TypeError, AttributeError
        If it is damaged, or holds anything but numbers.

    Examples
    --------
    >>> metadata = parse_format3({
    ...     "zarr_format": 3, "node_type": "array", "shape": [400, 400, 400], "data_type": "uint8", "fill_value": 0,
    ...     "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64, 64]}},
    ...     "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes"}, {"name": "zstd"}],
    ... })
    >>> metadata.shape, metadata.chunks, metadata.pattern
    ((400, 400, 400), (64, 64, 64), 'c/%d/%d/%d')
    """
    if metadata["data_type"] not in _TYPES or metadata.get("storage_transformers"):
        raise ValueError(f"values of type {metadata['data_type']!r}, or storage transformers; expected numbers")
    if metadata["chunk_grid"]["name"] != "regular":
        raise ValueError(f"a chunk grid {metadata['chunk_grid']['name']!r}, expected a regular one")
    shape = parse_sizes(metadata["shape"])
    files = parse_sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"], least=1, axes=len(shape))
    chunks, shard, codecs = files, None, metadata["codecs"]
    if any(codec["name"] == _SHARDS for codec in codecs):
        chunks, shard, codecs = _parse_sharding(codecs, files)
    chain = _parse_codecs(codecs, len(shape))
    naming = metadata["chunk_key_encoding"]
    default = {"default": True, "v2": False}[naming["name"]]
    separator = (naming.get("configuration") or {}).get("separator", "/" if default else ".")
    dtype = parse_dtype(metadata["data_type"])
    return ArrayMetadata(
        shape=shape,
        chunks=chunks,
        stored=dtype.newbyteorder(chain.byte_order),
        fill=parse_fill(metadata["fill_value"], dtype),
        codecs=tuple(chain.codecs),
        axes=chain.axes,
        pattern=chunk_pattern(len(shape), separator, *(["c"] if default else [])),
        shard=shard,
    )


@dataclass(kw_only=True)
class _Chain:
    """What codecs do: to the order of the axes, to bytes in a number, to bytes."""

    axes: tuple[int, ...]
    byte_order: Literal["<", ">"] = "<"
    codecs: list[Codec] = field(default_factory=list)


def _parse_codecs(codecs: Sequence[Mapping[str, Any]], axes: int) -> _Chain:
    chain = _Chain(axes=tuple(range(axes)))
    is_bytes = False
    for entry in codecs:
        name, configuration = entry["name"], entry.get("configuration") or {}
        if name == "bytes" and not is_bytes:
            is_bytes = True
            if configuration.get("endian", "little") not in ("little", "big"):
                raise ValueError(f"bytes in the order {configuration['endian']!r}, expected little or big")
            chain.byte_order = ">" if configuration.get("endian") == "big" else "<"
            # Filters before `bytes` work on numbers in this machine's order; turning them round in between is not done.
            if chain.byte_order == ">" and chain.codecs:
                raise ValueError("filters before big-endian bytes, which are not read")
        elif name == "transpose" and not is_bytes and not chain.codecs:
            chain.axes = tuple(chain.axes[axis] for axis in _parse_permutation(configuration["order"], axes))
        else:
            chain.codecs.append(_parse_bytes_codec(name, configuration, is_bytes=is_bytes))
    if not is_bytes:
        raise ValueError("no codec that turns numbers into bytes")
    return chain


def _parse_permutation(order: Any, axes: int) -> list[int]:
    named = {"C": list(range(axes)), "F": list(range(axes))[::-1]}
    found = named.get(order, []) if isinstance(order, str) else list(order)
    if sorted(found) != list(range(axes)):
        raise ValueError(f"axes transposed to {order!r}, expected each of the {axes} axes once")
    return found


def _parse_bytes_codec(name: Any, configuration: Mapping[str, Any], *, is_bytes: bool) -> Codec:
    kind = str(name).removeprefix("numcodecs.")
    if name not in _PLAIN_CODECS and not str(name).startswith("numcodecs."):
        known = ", ".join(sorted(_PLAIN_CODECS | {"bytes", "transpose", _SHARDS}))
        raise ValueError(f"a codec {name!r} in this place, expected one of {known}")
    codec = parse_codec({**configuration, "id": kind}, str(name))
    if not is_bytes and kind not in FILTERS:
        raise ValueError(f"the codec {name!r} before bytes")
    return codec


def _parse_sharding(
    codecs: Sequence[Mapping[str, Any]], files: tuple[int, ...]
) -> tuple[tuple[int, ...], ShardIndex, Sequence[Mapping[str, Any]]]:
    """Return shape and codecs of the chunks in a shard, and how its index is written."""
    if len(codecs) != 1:
        raise ValueError(f"{_SHARDS} among other codecs, which is not read")
    configuration = codecs[0]["configuration"]
    inner = parse_sizes(configuration["chunk_shape"], least=1, axes=len(files))
    if any(outer % size for outer, size in zip(files, inner, strict=True)):
        raise ValueError(f"chunks of {inner} in shards of {files}, which they do not divide")
    index = configuration["index_codecs"]
    chain = _parse_codecs(index, len(files) + 1)  # an index has one axis more: first byte and length
    checksums = [codec.kind for codec in chain.codecs]
    if checksums not in ([], ["crc32c"]) or any(entry["name"] == "transpose" for entry in index):
        raise ValueError(f"an index of shards coded with {', '.join(checksums)}, expected bytes and crc32c")
    location = configuration.get("index_location", "end")
    if location not in ("start", "end"):
        raise ValueError(f"the index of shards at the {location!r}, expected start or end")
    shape = tuple(outer // size for outer, size in zip(files, inner, strict=True))
    shard = ShardIndex(shape=shape, byte_order=chain.byte_order, checksum=bool(checksums), at_end=location == "end")
    return inner, shard, configuration["codecs"]


def read_shard_index(shard: ShardIndex, content: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return first byte and length of each chunk in a shard, along the last axis; all bits are set where there is none.

    Raises
    ------
    ValueError
        If it is cut off, or its checksum is not that of its bytes.
    """
    from csc_data.formats.codecs import crc32c

    if len(content) != shard.size:
        raise ValueError(f"its index has {len(content)} bytes, expected {shard.size}: it is cut off")
    if shard.checksum:
        content, stored = content[:-4], content[-4:]
        if int.from_bytes(stored, "little") != crc32c(content):
            raise ValueError("the checksum of its index is not that of its bytes")
    return np.frombuffer(content, f"{shard.byte_order}u8").astype(np.uint64).reshape(*shard.shape, 2)
