"""What the colours of a picture mean, from the state of the viewer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from csc_data.challenge.colours import as_hex
from csc_data.view.differences import AGREED, DIFFERENCE_COLOURS, FALSE, MISSED

LegendEntry = tuple[str, str]
"""A name and its colour, as ``#rrggbb``; no colour where each object has one of its own."""

_COLOUR = re.compile(r"color\(default=\"(#[0-9a-fA-F]{6})\"\)")
_SIDES = {MISSED: "missed", FALSE: "false", AGREED: "agreed"}


def legend_of(state: Mapping[str, Any]) -> list[LegendEntry]:
    """Return what is drawn in colour, in the order of the layers; raw is not.

    Parameters
    ----------
    state : mapping
        As the viewer has it in its address, and behind its ``{}``.

    Examples
    --------
    >>> mask = {"type": "segmentation", "name": "er (truth)", "segmentDefaultColor": "#0072b2"}
    >>> legend_of({"layers": [{"type": "image", "name": "raw"}, mask, {**mask, "name": "er", "visible": False}]})
    [('er (truth)', '#0072b2')]
    """
    return [entry for layer in state.get("layers", ()) if _is_drawn(layer) for entry in _entries(layer)]


def _is_drawn(layer: Mapping[str, Any]) -> bool:
    return layer.get("visible", True) is not False and not layer.get("archived", False)


def _entries(layer: Mapping[str, Any]) -> Iterator[LegendEntry]:
    name = str(layer.get("name", ""))
    if layer.get("type") != "segmentation":
        chosen = layer.get("shaderControls", {}).get("colour")  # in the viewer, by hand
        default = _COLOUR.search(str(layer.get("shader", "")))
        if chosen or default:
            yield name, str(chosen or (default and default[1]))
    elif layer.get("segmentColors") == {str(side): as_hex(colour) for side, colour in DIFFERENCE_COLOURS.items()}:
        what = name.partition(":")[0]
        yield from ((f"{what}: {_SIDES[side]}", as_hex(colour)) for side, colour in DIFFERENCE_COLOURS.items())
    else:
        yield name, str(layer.get("segmentDefaultColor", ""))
