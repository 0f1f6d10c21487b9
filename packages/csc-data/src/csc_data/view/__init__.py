"""Volumes in Neuroglancer: what a browser or a notebook shows (extra ``view``).

`show` serves volumes to browsers; `layers_of` and `state_of` return Neuroglancer's own objects for other programs.
"""

from csc_data.view.differences import difference_layer
from csc_data.view.layers import Kind, Layer, array_layer, open_layer
from csc_data.view.live import BlockSource, BlockWorker, LiveArray, live_volume
from csc_data.view.napari import napari_layers, show_in_napari
from csc_data.view.pictures.screenshot import take_screenshot
from csc_data.view.showing import Scene, Spot, View, show
from csc_data.view.state import layers_of, state_of

__all__ = [
    "BlockSource",
    "BlockWorker",
    "Kind",
    "Layer",
    "LiveArray",
    "Scene",
    "Spot",
    "View",
    "array_layer",
    "difference_layer",
    "layers_of",
    "live_volume",
    "napari_layers",
    "open_layer",
    "show",
    "show_in_napari",
    "state_of",
    "take_screenshot",
]
