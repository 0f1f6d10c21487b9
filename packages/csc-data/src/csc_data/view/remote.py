"""Volumes that a browser reads by itself, from a bucket or a web server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

VIEWER = "https://neuroglancer-demo.appspot.com"
"""The public viewer."""

_SAFE = "~@#$&()*!+=:;,.?/'"  # what Neuroglancer itself leaves unquoted


def viewer_url(state: Mapping[str, Any], viewer: str = VIEWER) -> str:
    """Return the link that opens a state in a viewer; it stands in the link as JSON."""
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
