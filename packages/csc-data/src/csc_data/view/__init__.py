"""Volumes in Neuroglancer: what a browser or a notebook shows (extra ``view``).

`show` serves volumes to browsers; `layers_of` and `state_of` return Neuroglancer's own objects for other programs.
"""

from csc_data.view.differences import difference_layer
from csc_data.view.layers import Kind, Layer, array_layer, open_layer
from csc_data.view.screenshot import take_screenshot
from csc_data.view.showing import Scene, Spot, View, show
from csc_data.view.state import layers_of, state_of

__all__ = [
    "Kind",
    "Layer",
    "Scene",
    "Spot",
    "View",
    "array_layer",
    "difference_layer",
    "layers_of",
    "open_layer",
    "show",
    "state_of",
    "take_screenshot",
]
