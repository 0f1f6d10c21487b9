"""Layers as Neuroglancer's own objects, and the view that it begins with.

What a state may say: https://neuroglancer-docs.web.app/json/api/index.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from csc_data.challenge.colours import as_hex
from csc_data.errors import CscError, InvalidArgumentError
from csc_data.geometry import Roi
from csc_data.view.differences import DIFFERENCE_COLOURS
from csc_data.view.layers import Layer
from csc_data.view.live import LiveArray

_WINDOW_PIXELS = 400  # width of one of the four views on a common screen
_DOWNLOADS = 500  # a block that is computed takes one for as long, and the viewer has 100 for all layers
_SAMPLE = 64  # voxels along an axis of what contrast is taken from
_CONTRAST = (0.5, 99.5)  # percentiles

_RAW = """#uicontrol invlerp contrast(range=[{low}, {high}], window=[{low}, {high}])
void main() {{
  emitGrayscale(contrast());
}}
"""
_PROBABILITY = """#uicontrol vec3 colour color(default="{colour}")
#uicontrol float opacity slider(min=0, max=1, default=0.6)
#uicontrol float threshold slider(min=0, max=1, default=0)
void main() {{
  float p = {probability};
  if (p < threshold || p == 0.0) {{
    emitTransparent();
  }} else {{
    emitRGBA(vec4(colour, opacity * (threshold > 0.0 ? 1.0 : p)));
  }}
}}
"""

_PROBABILITY_OF = {
    "probability": "float(toRaw(getDataValue())) / {one}",
    "logit": "1.0 / (1.0 + exp(-float(toRaw(getDataValue())) / {one}))",
    "distance": "clamp(0.5 + 0.5 * float(toRaw(getDataValue())) / {one}, 0.0, 1.0)",
}
"""How a shader makes a probability of what is stored, see `csc_data.volumes.stored_values.StoredValues`."""


def layers_of(layers: Sequence[Layer], source: Callable[[Layer], str]) -> list[Any]:
    """Return layers as `neuroglancer.ManagedLayer`.

    Parameters
    ----------
    layers : sequence of Layer
        In the order in which they are listed.
    source : callable
        Given a layer, returns where the viewer finds it, such as ``zarr2://http://...``.
    """
    import neuroglancer

    return [
        neuroglancer.ManagedLayer(name=layer.name, layer=_drawn(layer, source(layer)), archived=not layer.visible)
        for layer in layers
    ]


def state_of(
    layers: Sequence[Layer],
    source: Callable[[Layer], str],
    *,
    roi: Roi | None = None,
    panes: Sequence[Sequence[str]] = (),
    title: str = "",
) -> Any:
    """Return a `neuroglancer.ViewerState`: the layers, in nm, seen so that a box fills the view.

    Parameters
    ----------
    layers, source
        As for `layers_of`.
    roi : Roi, optional
        What to look at, in nm; the extent of the last visible layer by default, which lies on top.
    panes : sequence of sequence of str
        Names of the layers of views side by side, which move together; one view of four sides by default.
    title : str
        Of the browser's window; a view that is saved is known by it again.

    Raises
    ------
    InvalidArgumentError
        If there is no layer.
    """
    import neuroglancer

    if not layers:
        raise InvalidArgumentError("there is no layer to show")
    shown = [layer for layer in layers if layer.visible] or list(layers)
    box = roi or shown[-1].roi
    extent = box.extent
    position, scale = looking_at(box)
    state = neuroglancer.ViewerState(
        dimensions=neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=[1, 1, 1]),
        position=position,
        cross_section_scale=scale,
        projection_scale=2 * max(extent),
        layout="4panel",
        show_slices=False,
    )
    if any(isinstance(layer.volume.levels[0].array, LiveArray) for layer in layers):
        state.concurrent_downloads = _DOWNLOADS
    for layer in layers_of(layers, source):
        state.layers.append(layer)
    if title:
        state.title = title
    if panes:
        views = [neuroglancer.LayerGroupViewer(layers=list(names), layout="xy") for names in panes]
        state.layout = neuroglancer.row_layout(views)
    return state


def looking_at(box: Roi) -> tuple[list[float], float]:
    """Return the position (x, y, z) in nm and the nm of a pixel with which a box fills a view.

    Examples
    --------
    >>> from csc_data import Roi
    >>> looking_at(Roi([0, 0, 0], [1000, 800, 600]))[0]  # x, y, z
    [300.0, 400.0, 500.0]
    """
    position = [(b + e) / 2 for b, e in zip(box.begin, box.end, strict=True)][::-1]
    return position, max(box.extent) / _WINDOW_PIXELS


def _drawn(layer: Layer, source: str) -> Any:
    import neuroglancer

    if layer.kind == "raw":
        low, high = contrast_of(layer)
        return neuroglancer.ImageLayer(source=source, shader=_RAW.format(low=low, high=high))
    if layer.kind == "probability":
        return neuroglancer.ImageLayer(source=source, shader=_probability_shader(layer))
    drawn = neuroglancer.SegmentationLayer(source=source, selected_alpha=0.4)
    if layer.kind == "mask":
        drawn.segment_default_color = as_hex(layer.colour)
    elif layer.kind == "difference":
        drawn.segment_colors = {value: as_hex(colour) for value, colour in DIFFERENCE_COLOURS.items()}
    return drawn


def _probability_shader(layer: Layer) -> str:
    values = layer.values
    told = "toNormalized(getDataValue())"
    if values is not None and values.kind in _PROBABILITY_OF:
        told = _PROBABILITY_OF[values.kind].format(one=float(values.one))
    return _PROBABILITY.format(colour=as_hex(layer.colour), probability=told)


def contrast_of(layer: Layer) -> tuple[float, float]:
    """Return the grey values that are drawn black and white: percentiles of the middle of the coarsest level.

    The whole range of its type where nothing can be read, or all is one value.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> raw = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    >>> low, high = contrast_of(array_layer(raw, "raw", "raw", voxel_size=(8, 8, 8)))
    >>> 0 <= low < 10 and 90 < high <= 99
    True
    """
    level = layer.volume.levels[-1]
    middle = tuple(
        slice(max(0, n // 2 - _SAMPLE // 2), max(0, n // 2 - _SAMPLE // 2) + _SAMPLE) for n in level.grid.shape
    )
    try:
        values = np.asarray(level.array[middle], dtype=np.float64)
        low, high = np.percentile(values[np.isfinite(values)], _CONTRAST)
    except (CscError, OSError, IndexError, ValueError):
        low = high = 0.0
    if low < high:
        return float(low), float(high)
    whole = np.iinfo(level.dtype) if level.dtype.kind in "iu" else None
    return (float(whole.min), float(whole.max)) if whole is not None else (0.0, 1.0)
