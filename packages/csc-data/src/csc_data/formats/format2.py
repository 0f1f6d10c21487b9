"""Arrays of zarr format 2 (https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html): metadata to chunks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from csc_data.errors import UnreadableDataError
from csc_data.formats.chunk_files import ChunkDecoder, ChunkFiles, check_codec
from csc_data.storage.nodes import Node

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def format2_chunks(node: Node, endpoint: str | None = None) -> ChunkFiles:
    """Return the chunks of an array.

    Raises
    ------
    UnreadableDataError
        If its metadata is damaged, or it holds anything but numbers.
    """
    metadata = node.metadata or {}
    try:
        stored = np.dtype(metadata["dtype"])
        if stored.kind not in "buif" or metadata["zarr_format"] != 2 or metadata["order"] not in ("C", "F"):
            raise ValueError(  # noqa: TRY301
                f"dtype {metadata['dtype']!r}, order {metadata['order']!r}, format {metadata['zarr_format']!r} are not "
                "those of numbers in format 2"
            )
        compressor = metadata["compressor"]
        codecs = [*(metadata.get("filters") or ()), *([] if compressor is None else [compressor])]
        return ChunkFiles(
            path=node.path,
            shape=sizes(metadata["shape"]),
            chunks=sizes(metadata["chunks"], least=1, axes=len(metadata["shape"])),
            dtype=stored.newbyteorder("="),
            fill=_fill(metadata["fill_value"], stored),
            separator=_separator(metadata.get("dimension_separator", ".")),
            reverse=False,
            decoder=ChunkDecoder(
                codecs=tuple(check_codec(codec) for codec in codecs), stored=stored.str, order=metadata["order"]
            ),
            endpoint=endpoint,
        )
    except (KeyError, TypeError, ValueError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableDataError(f"{node.path}: its .zarray is damaged or not supported: {words}") from error


def sizes(values: Any, least: int = 0, axes: int | None = None) -> tuple[int, ...]:
    """Return whole numbers as a tuple.

    Raises
    ------
    ValueError
        If they are no whole numbers, too small, or not one for each axis.
    """
    numbers = tuple(values)
    if any(not isinstance(n, int) or n < least for n in numbers) or len(numbers) != (axes or len(numbers)):
        raise ValueError(f"sizes {values!r}, expected whole numbers of at least {least}, one for each axis")
    return numbers


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the value of chunks that are not stored; null leaves it open."""
    if value is None:
        return dtype.type(0)
    if isinstance(value, str):
        value = _WORDS[value]
    return dtype.type(value)


def _separator(value: Any) -> str:
    if value not in (".", "/"):
        raise ValueError(f"dimension_separator {value!r}, expected '.' or '/'")
    return str(value)
