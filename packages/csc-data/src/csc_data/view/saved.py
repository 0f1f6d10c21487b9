"""Views that were saved: the viewer's ``{}`` downloads its state as JSON, and it can begin as in such a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csc_data.errors import UnreadableDataError

_OF_A_PLACE = ("position", "crossSectionScale", "projectionScale", "crossSectionOrientation", "crossSectionDepth",
               "projectionOrientation", "projectionDepth", "selection", "title")  # fmt: skip


def read_saved(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the state in a file.

    Raises
    ------
    UnreadableDataError
        If it cannot be read, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "state.json")
    ...     _ = file.write_text('{"layers": [{"name": "mito", "visible": false}]}')
    ...     read_saved(file)["layers"][0]["visible"]
    False
    """
    try:
        saved = dict(json.loads(Path(path).read_bytes()))
        saved["layers"] = [{**layer, "name": str(layer["name"])} for layer in saved["layers"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableDataError(
            f"{os.fspath(path)} is not a state of the viewer, as its button {{}} downloads it: {error}"
        ) from error
    return saved


def restored(state: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state as it was saved.

    Of layers that are in both, what was saved of colours, visibility and the like holds; their sources are those of
    now, as a server's secret is another one each time. Where it looks holds for the place that it was saved at alone:
    another crop lies elsewhere.

    Examples
    --------
    >>> now = {"layers": [{"name": "mito", "source": "zarr://new/"}]}
    >>> saved = {"layers": [{"name": "mito", "source": "zarr://old/", "type": "image", "visible": False}]}
    >>> restored(now, saved)["layers"]
    [{'name': 'mito', 'source': 'zarr://new/', 'type': 'image', 'visible': False}]
    """
    drawn = {layer["name"]: layer for layer in saved["layers"]}
    layers = []
    for layer in state["layers"]:
        kept = drawn.get(layer["name"], {})
        begun = {} if "type" in kept else layer  # what the viewer saved is whole; what somebody wrote by hand is not
        layers.append({**begun, **kept, "source": layer["source"]})
    elsewhere = saved.get("title", state.get("title")) != state.get("title")
    others = {name: value for name, value in saved.items() if not (elsewhere and name in _OF_A_PLACE)}
    return {**state, **others, "layers": layers}
