"""Links that open a place of remote volumes in Neuroglancer.

The state of the viewer stands in the link, as JSON: https://neuroglancer-docs.web.app/json/api/index.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from csc_data.view.remote import viewer_source, viewer_url

_WINDOW_PIXELS = 400  # width of one of the four views on a common screen


def viewer_link(
    raw: str,
    labels: Mapping[str, str],
    position_nm: Sequence[float],
    extent_nm: Sequence[float],
    *,
    endpoint: str | None = None,
) -> str | None:
    """Return the link to a place, or None where a browser cannot reach raw.

    Parameters
    ----------
    raw : str
        Path or URL of the volume.
    labels : mapping
        Name of a layer to path or URL; those that a browser cannot reach are left out.
    position_nm, extent_nm : sequence of float
        The middle of the view, and how much around it the view shows; z, y, x.
    endpoint : str, optional
        Address of the S3 service, where it is not Amazon's.

    Examples
    --------
    >>> link = viewer_link("s3://bucket/a.zarr/raw", {}, (0, 0, 0), (100, 100, 100))
    >>> link.startswith("https://"), viewer_link("data/a.zarr/raw", {}, (0, 0, 0), (100, 100, 100))
    (True, None)
    """
    source = viewer_source(raw, endpoint=endpoint)
    if source is None:
        return None
    layers: list[dict[str, Any]] = [{"type": "image", "source": source, "name": "raw"}]
    for name, path in labels.items():
        label_source = viewer_source(path, endpoint=endpoint)
        if label_source is not None:
            layers.append({"type": "segmentation", "source": label_source, "name": name})
    z, y, x = (round(p, 1) for p in position_nm)
    state = {
        "dimensions": {axis: [1e-9, "m"] for axis in "xyz"},
        "position": [x, y, z],
        "crossSectionScale": round(max(extent_nm) / _WINDOW_PIXELS, 3),
        "layers": layers,
        "layout": "4panel",
    }
    return viewer_url(state)
