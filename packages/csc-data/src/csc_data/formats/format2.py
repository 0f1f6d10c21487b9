"""Metadata of arrays of zarr format 2 (https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csc_data.formats.array_metadata import ArrayMetadata, chunk_pattern, parse_dtype, parse_fill, parse_sizes
from csc_data.formats.codecs import parse_codec


def parse_format2(metadata: Mapping[str, Any]) -> ArrayMetadata:
    """Return what a ``.zarray`` says.

    Raises
    ------
    KeyError, ValueError, TypeError
        If it is damaged, or holds anything but numbers.

    Examples
    --------
    >>> metadata = parse_format2({
    ...     "zarr_format": 2, "shape": [400, 400, 400], "chunks": [64, 64, 64], "dtype": "|u1", "order": "C",
    ...     "compressor": {"id": "zstd", "level": 3}, "fill_value": 0, "dimension_separator": "/",
    ... })
    >>> metadata.shape, metadata.chunks, metadata.pattern
    ((400, 400, 400), (64, 64, 64), '%d/%d/%d')
    """
    stored = parse_dtype(metadata["dtype"])
    if metadata["zarr_format"] != 2 or metadata["order"] not in ("C", "F"):
        raise ValueError(
            f"order {metadata['order']!r}, format {metadata['zarr_format']!r}, expected C or F in format 2"
        )
    shape = parse_sizes(metadata["shape"])
    compressor = metadata["compressor"]
    codecs = [*(metadata.get("filters") or ()), *([] if compressor is None else [compressor])]
    axes = tuple(range(len(shape)))
    return ArrayMetadata(
        shape=shape,
        chunks=parse_sizes(metadata["chunks"], least=1, axes=len(shape)),
        stored=stored,
        fill=parse_fill(metadata["fill_value"], stored),
        codecs=tuple(parse_codec(codec) for codec in codecs),
        axes=axes if metadata["order"] == "C" else axes[::-1],
        pattern=chunk_pattern(len(shape), metadata.get("dimension_separator", ".")),
    )
