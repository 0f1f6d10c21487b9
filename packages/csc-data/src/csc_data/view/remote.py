"""Volumes that a browser reads by itself, from a bucket or a web server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from csc_data.formats.chunk_files import StoredChunks
from csc_data.formats.ngff import multiscales
from csc_data.storage.remote import fsspec_config, storage_options
from csc_data.storage.stores.places import UrlStore
from csc_data.view.serving.levels import EncodedLevel, serve_array
from csc_data.volumes import Volume

VIEWER = "https://neuroglancer-demo.appspot.com"
"""The public viewer."""

_UNITS = frozenset({"angstrom", "nanometer", "micrometer", "millimeter", "meter"})  # as OME-NGFF writes them
_SAFE = "~@#$&()*!+=:;,.?/'"  # what Neuroglancer itself leaves unquoted


def viewer_url(state: Mapping[str, Any], viewer: str = VIEWER) -> str:
    """Return the link that opens a state in a viewer; it stands in the link as JSON.

    Examples
    --------
    >>> viewer_url({"layers": []}, viewer="https://viewer")
    'https://viewer/#!%7B%22layers%22:%5B%5D%7D'
    """
    return f"{viewer}/#!{quote(json.dumps(state, separators=(',', ':')), safe=_SAFE)}"


def viewer_source(path: str, *, endpoint: str | None = None) -> str | None:
    """Return what Neuroglancer calls a volume, or None where a browser cannot reach it.

    >>> viewer_source("s3://bucket/x.zarr/recon-1/em/raw")
    'zarr://s3://bucket/x.zarr/recon-1/em/raw'
    >>> viewer_source("data/x.zarr/recon-1/em/raw") is None
    True
    """
    protocol, found, rest = path.partition("://")
    if not found or "::" in path:
        return None
    rest = rest.rstrip("/")
    if protocol in ("s3", "s3a"):
        place = f"{endpoint.rstrip('/')}/{rest}" if endpoint else f"s3://{rest}"
    elif protocol in ("gs", "gcs"):
        place = f"gs://{rest}"
    elif protocol in ("http", "https"):
        place = f"{protocol}://{rest}"
    else:
        return None
    return f"{'n5' if '.n5' in rest and '.zarr' not in rest else 'zarr'}://{place}"


def direct_source(volume: Volume) -> str | None:
    """Return what Neuroglancer calls a volume of a public bucket; None where a browser would not read what we do.

    It reads OME-NGFF as the standard has it, and does so only from who lets every page read: web servers seldom do.
    What has other metadata, types or codecs is converted by `csc_data.view.serving`.
    """
    sources = [getattr(level.array, "source", None) for level in volume.levels]
    if not all(isinstance(source, StoredChunks) and not source.metadata.header for source in sources):
        return None
    store = sources[0].store  # type: ignore[union-attr]
    if not isinstance(store, UrlStore) or not storage_options(volume.path, endpoint=store.endpoint).get("anon"):
        return None
    if not _is_standard(volume.attributes) or any(
        isinstance(serve_array(level.array), EncodedLevel) for level in volume.levels
    ):
        return None
    given = fsspec_config("s3")
    elsewhere = given.get("endpoint_url") or given.get("client_kwargs", {}).get("endpoint_url")
    return viewer_source(volume.path, endpoint=store.endpoint or elsewhere)


def _is_standard(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a group names its axes and their units as OME-NGFF 0.4 and 0.5 do, z, y and x alone."""
    found = multiscales(attributes)
    axes = found[0].get("axes") if found else None
    return [isinstance(axis, Mapping) and axis.get("name") for axis in axes or ()] == ["z", "y", "x"] and all(
        axis.get("unit") in _UNITS for axis in axes or ()
    )
