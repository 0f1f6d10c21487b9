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
from csc_data.formats.array_metadata import ArrayMetadata, chunk_pattern, parse_sizes
from csc_data.formats.codecs import Codec, parse_codec
from csc_data.formats.ngff import check_level_name, grid_from_attributes, nm_per_unit
from csc_data.geometry import Grid, as_shape
from csc_data.storage.nodes import Node, children, read_nodes
from csc_data.storage.stores.places import UrlStore, join_key, open_place

_TYPES = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"})
_CODECS = {"bzip2": "bz2", "xz": "lzma"} | {name: name for name in ("blosc", "gzip", "lzma", "zlib", "zstd")}


def parse_n5(metadata: Mapping[str, Any]) -> ArrayMetadata:
    """Return what an ``attributes.json`` says of an array, with its axes in the order z, y, x.

    Raises
    ------
    KeyError, ValueError, TypeError, AttributeError
        If it is damaged, or its compression is not known.

    Examples
    --------
    >>> metadata = parse_n5({
    ...     "dimensions": [10, 20, 30], "blockSize": [5, 5, 5], "dataType": "uint8", "compression": {"type": "raw"}
    ... })
    >>> metadata.shape, metadata.chunks
    ((30, 20, 10), (5, 5, 5))
    """
    if metadata["dataType"] not in _TYPES:
        raise ValueError(f"dataType {metadata['dataType']!r}")
    dtype = np.dtype(metadata["dataType"])
    shape = parse_sizes(metadata["dimensions"])
    return ArrayMetadata(
        shape=shape[::-1],
        chunks=parse_sizes(metadata["blockSize"], least=1, axes=len(shape))[::-1],
        stored=dtype.newbyteorder(">"),
        fill=dtype.type(0),
        codecs=_codecs(metadata),
        axes=tuple(range(len(shape))),
        pattern=chunk_pattern(len(shape), "/"),
        reverse=True,
        header=True,
    )


def _codecs(metadata: Mapping[str, Any]) -> tuple[Codec, ...]:
    """Return the codec of numcodecs that decodes a compression of N5; ``compressionType`` is the name of old."""
    given = metadata.get("compression", {"type": metadata.get("compressionType", "raw")})
    kind = given["type"]
    if kind == "raw":
        return ()
    if kind == "gzip" and given.get("useZlib"):
        kind = "zlib"
    if kind not in _CODECS:
        raise ValueError(f"compression {kind!r}, expected raw, gzip, bzip2, xz, blosc or zstd")
    return (parse_codec({"id": _CODECS[kind]}, kind),)


def n5_levels(node: Node) -> list[tuple[str, Grid, Node]]:
    """Return name, grid and metadata of the scale levels of a group, or of an array by itself.

    Raises
    ------
    UnreadableDataError
        If there are none, or their place in nm is not known.
    """
    if node.is_array:
        group, name = _group_of(node)
        attributes = group.attributes if group is not None and group.format == "n5" else {}
        stated = _stated(group.path, attributes) if group is not None else {}
        return [("", _grid(node, stated.get(name, {}), attributes, name), node)]
    stated = _stated(node.path, node.attributes)
    if stated:
        nodes = read_nodes(node.store, [join_key(node.key, name) for name in stated])
        missing = [name for name, array in zip(stated, nodes, strict=True) if array is None or not array.is_array]
        if missing:
            words = ", ".join(missing)
            raise UnreadableDataError(f"{node.path}: its `multiscales` name arrays that are not there: {words}")
        found = [array for array in nodes if array is not None]
    else:
        found = [child for child in children(node.store, node.key) if child.is_array]
    return [
        (array.name, _grid(array, stated.get(array.name, {}), node.attributes, array.name), array) for array in found
    ]


def _stated(path: str, attributes: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what the attributes of a group say of the arrays in it, by name."""
    entries = attributes.get("multiscales")
    try:
        named = {str(entry["path"]): entry for entry in entries[0]["datasets"]} if entries else {}
    except (KeyError, IndexError, TypeError) as error:
        raise UnreadableDataError(f"{path}: its `multiscales` name no datasets: {error}") from error
    for name in named:
        check_level_name(path, name)
    return named


def _group_of(node: Node) -> tuple[Node | None, str]:
    """Return the group that an array lies in, None where it is not known, and the array's name there."""
    inner, chained, outer = node.path.partition("::")
    above, _, name = inner.replace("\\", "/").rstrip("/").rpartition("/")
    if not above or above.endswith((":", "/")):
        return None, name
    endpoint = node.store.endpoint if isinstance(node.store, UrlStore) else None
    return read_nodes(open_place(above + chained + outer, endpoint=endpoint), [""])[0], name


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
                # A voxel of a coarser level covers f of the finest, so its centre lies (f - 1) / 2 of those further.
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
    nm = [nm_per_unit(unit) for unit in units]
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
    return [float(value) * nm_per_unit(unit) for value in size]


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
