"""N5 (https://github.com/saalfeldlab/n5): its arrays, and where its scale levels lie.

N5 writes sizes and names of chunks from the last axis to the first (x, y, z), so they are turned round here. Places are
read from the attributes that tools for electron microscopy write, per array or for the group:

- ``transform`` (COSEM): axes by name, scale, translate and units;
- ``pixelResolution`` with ``dimensions`` and ``unit``, or ``resolution``, both x, y, z and of the finest level where
  there are ``downsamplingFactors`` (https://github.com/saalfeldlab/n5-viewer) or ``scales`` of a group, and ``offset``;
- ``voxel_size`` and ``offset`` or ``translation``, z, y, x as in plain arrays of zarr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from csc_data.errors import CscError, UnreadableDataError
from csc_data.formats.chunk_files import ChunkDecoder, ChunkFiles, check_codec
from csc_data.formats.format2 import sizes
from csc_data.formats.ngff import grid_from_attributes
from csc_data.geometry import Grid, as_shape
from csc_data.storage.nodes import Node, children, read_nodes
from csc_data.storage.paths import join

_NM_PER_UNIT = {
    name: size
    for size, names in (
        (0.1, ("angstrom", "Å")),
        (1.0, ("nm", "nanometer", "nanometers")),
        (1e3, ("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "micrometer", "micrometers")),
        (1e6, ("mm", "millimeter")),
        (1e9, ("m", "meter")),
    )
    for name in names
}
_TYPES = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"})
_SAME_CODECS = frozenset({"blosc", "zstd"})


def n5_chunks(node: Node, endpoint: str | None = None) -> ChunkFiles:
    """Return the chunks of an array, with its axes in the order z, y, x.

    Raises
    ------
    UnreadableDataError
        If its metadata is damaged, or its compression is not known.
    """
    metadata = node.metadata or {}
    try:
        if metadata["dataType"] not in _TYPES:
            raise ValueError(f"dataType {metadata['dataType']!r}")  # noqa: TRY301
        dtype = np.dtype(metadata["dataType"])
        shape = sizes(metadata["dimensions"])
        return ChunkFiles(
            path=node.path,
            shape=shape[::-1],
            chunks=sizes(metadata["blockSize"], least=1, axes=len(shape))[::-1],
            dtype=dtype,
            fill=dtype.type(0),
            separator="/",
            reverse=True,
            decoder=ChunkDecoder(codecs=_codecs(metadata), stored=dtype.newbyteorder(">").str, header=True),
            endpoint=endpoint,
        )
    except (KeyError, TypeError, ValueError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableDataError(f"{node.path}: its attributes.json is damaged or not supported: {words}") from error


def _codecs(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the codec of numcodecs that decodes a compression of N5; ``compressionType`` is the name of old."""
    given = metadata.get("compression", {"type": metadata.get("compressionType", "raw")})
    kind = given["type"]
    if kind == "raw":
        return ()
    if kind == "gzip":
        return (check_codec({"id": "zlib" if given.get("useZlib") else "gzip"}),)
    if kind == "bzip2":
        return (check_codec({"id": "bz2"}),)
    if kind in ("xz", "lzma"):
        return (check_codec({"id": "lzma"}),)
    if kind in _SAME_CODECS:
        return (check_codec({"id": kind}),)
    raise ValueError(f"compression {kind!r}, expected raw, gzip, bzip2, xz, blosc or zstd")


def n5_levels(node: Node, endpoint: str | None = None) -> list[tuple[str, Grid, Node]]:
    """Return name, grid and metadata of the scale levels of a group, or of an array by itself.

    Raises
    ------
    UnreadableDataError
        If there are none, or their place in nm is not known.
    """
    if node.is_array:
        above, name = _parent(node.path)
        (group,) = read_nodes([above], endpoint=endpoint) if above else (None,)
        attributes = group.attributes if group is not None and group.format == "n5" else {}
        return [("", _grid(node, _stated(above, attributes).get(name, {}), attributes, name), node)]
    stated = _stated(node.path, node.attributes)
    if stated:
        paths = [join(node.path, name) for name in stated]
        found = [array for array in read_nodes(paths, endpoint=endpoint) if array is not None and array.is_array]
        if len(found) < len(stated):
            there = {array.path for array in found}
            missing = ", ".join(name for name, path in zip(stated, paths, strict=True) if path not in there)
            raise UnreadableDataError(f"{node.path}: its `multiscales` name arrays that are not there: {missing}")
    else:
        found = [child for child in children(node.path, endpoint=endpoint) if child.is_array]
    levels = []
    for array in found:
        _, name = _parent(array.path)
        levels.append((name, _grid(array, stated.get(name, {}), node.attributes, name), array))
    return levels


def _stated(path: str, attributes: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what the attributes of a group say of the arrays in it, by name."""
    entries = attributes.get("multiscales")
    try:
        return {str(entry["path"]): entry for entry in entries[0]["datasets"]} if entries else {}
    except (KeyError, IndexError, TypeError) as error:
        raise UnreadableDataError(f"{path}: its `multiscales` name no datasets: {error}") from error


def _parent(path: str) -> tuple[str, str]:
    """Return the folder or URL that a node lies in, empty where it is not known, and its name there."""
    inner, chained, outer = path.partition("::")
    above, _, name = inner.replace("\\", "/").rstrip("/").rpartition("/")
    return (above + chained + outer if above and not above.endswith((":", "/")) else ""), name


def _grid(node: Node, stated: Mapping[str, Any], group: Mapping[str, Any], name: str) -> Grid:
    own = node.attributes
    shape = tuple(node.metadata["dimensions"])[::-1] if node.metadata else ()
    try:
        transform = own.get("transform") or stated.get("transform")
        if transform is not None:
            return _from_transform(transform, shape)
        for attributes in (own, group):
            size = _resolution(attributes)
            if size is not None:
                factors = _factors(own, group, name)
                offset = attributes.get("offset") or [0.0, 0.0, 0.0]
                shift = [o + s * (f - 1) / 2 for o, s, f in zip(offset, size, factors, strict=True)]
                return Grid(
                    voxel_size=_zyx([s * f for s, f in zip(size, factors, strict=True)]),
                    translation=_zyx(shift),
                    shape=shape,
                )
    except (LookupError, TypeError, ValueError, AttributeError, CscError) as error:
        words = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UnreadableDataError(f"{node.path}: its attributes give no grid: {words}") from error
    return grid_from_attributes(node.path, own, shape)


def _from_transform(transform: Mapping[str, Any], shape: Sequence[int]) -> Grid:
    axes = [str(axis) for axis in transform["axes"]]
    units = transform.get("units") or ["nm"] * len(axes)
    order = [axes.index(axis) for axis in "zyx"]
    if len(axes) != 3:
        raise ValueError(f"axes {axes}, expected z, y, x")
    nm = [_NM_PER_UNIT[unit] for unit in units]
    shift = transform.get("translate") or [0.0, 0.0, 0.0]
    return Grid(
        voxel_size=tuple(transform["scale"][i] * nm[i] for i in order),
        translation=tuple(shift[i] * nm[i] for i in order),
        shape=as_shape(shape),
    )


def _resolution(attributes: Mapping[str, Any]) -> list[float] | None:
    """Return nm per voxel of the finest level, x, y, z."""
    given = attributes.get("pixelResolution", attributes.get("resolution"))
    if given is None:
        return None
    unit, size = "nm", given
    if isinstance(given, Mapping):
        unit, size = given.get("unit", "nm"), given["dimensions"]
    return [float(value) * _NM_PER_UNIT[unit] for value in size]


def _factors(own: Mapping[str, Any], group: Mapping[str, Any], name: str) -> list[float]:
    """Return how many voxels of the finest level a voxel of this one is, x, y, z."""
    factors = own.get("downsamplingFactors")
    if factors is None and "pixelResolution" not in own and "resolution" not in own:
        scales = group.get("scales", group.get("downsamplingFactors"))
        if scales is not None and name[:1] == "s" and name[1:].isdigit():
            factors = scales[int(name[1:])]
    return [float(value) for value in (factors or [1, 1, 1])]


def _zyx(values: Sequence[float]) -> Any:
    x, y, z = values
    return z, y, x
