"""Layers for napari: data and keywords of its ``add_image`` and ``add_labels`` (extra ``napari``)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.challenge.colours import as_hex
from csc_data.errors import InvalidArgumentError, MissingPackageError, import_extra
from csc_data.view.differences import DIFFERENCE_COLOURS
from csc_data.view.layers import Layer
from csc_data.view.state import contrast_of
from csc_data.volumes import Level
from csc_data.volumes.stored_values import StoredValues

NapariLayer = tuple[Any, dict[str, Any], Literal["image", "labels"]]

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
_LIKELY = 0.99
_CHUNK = 64


def napari_layers(layers: Sequence[Layer]) -> list[NapariLayer]:
    """Return layers as napari's layer data: ``viewer.add_layer(napari.layers.Layer.create(*each))``.

    napari is not imported for it. Nothing is read but a sample of raw, for its contrast.

    Parameters
    ----------
    layers : sequence of Layer

    Returns
    -------
    list of tuple
        For each the data, a Dask array or a list of one for each level, finest first; the keywords, with scale and
        translate in nm and the group as ``metadata["group"]``; and "image" or "labels".

    Raises
    ------
    MissingPackageError
        If Dask is not installed.
    """
    return [_napari_layer(layer) for layer in layers]


def show_in_napari(layers: Sequence[Layer], *, title: str = "", wait: bool = False) -> Any:
    """Open a window of napari with layers, nm on its axes; return its ``napari.Viewer``.

    Parameters
    ----------
    layers : sequence of Layer
    title : str
        Of the window.
    wait : bool
        Whether to return when the window is closed. Notebooks and IPython need no waiting.

    Raises
    ------
    MissingPackageError
        If napari, or Dask, is not installed.
    InvalidArgumentError
        If there is no screen.
    """
    if sys.platform == "linux" and not any(map(os.environ.get, _SCREENS)):
        # Qt would end the process, with a core dump.
        raise InvalidArgumentError(f"there is no screen for napari: none of {', '.join(_SCREENS)} is set")
    try:
        napari: Any = importlib.import_module("napari")
    except ImportError as error:
        raise MissingPackageError(
            f'napari cannot be opened ({error}): pip install "napari[all]", which brings a Qt, or napari beside a Qt '
            "of your choice",
            name="napari",
        ) from error
    viewer = napari.Viewer(title=title)
    for each in napari_layers(layers):
        viewer.add_layer(napari.layers.Layer.create(*each))
    viewer.scale_bar.visible = True
    if wait:
        napari.run()
    return viewer


def _napari_layer(layer: Layer) -> NapariLayer:
    grid = layer.volume.levels[0].grid
    keywords: dict[str, Any] = {
        "name": layer.name,
        "scale": grid.voxel_size,
        "translate": grid.translation,  # both name the centre of voxel 0
        "units": ("nm",) * 3,
        "axis_labels": ("z", "y", "x"),
        "visible": layer.visible,
        "metadata": {"group": layer.group, "class_name": layer.class_name},
        "multiscale": len(layer.volume.levels) > 1,
    }
    is_image = layer.kind in ("raw", "probability")
    data = [_lazy(level, is_image) for level in layer.volume.levels]
    drawn = _image(layer) if is_image else _labels(layer)
    return data if len(data) > 1 else data[0], {**keywords, **drawn}, "image" if is_image else "labels"


def _image(layer: Layer) -> dict[str, Any]:
    if layer.kind == "raw":
        return {"colormap": "gray", "contrast_limits": contrast_of(layer)}
    values = layer.values
    if values is None or values.kind == "label":
        dtype = layer.volume.levels[0].dtype
        values = StoredValues(kind="probability", one=float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0)
    limits = (0.0, values.one)
    if values.kind != "probability":
        limits = values.stored_threshold(1 - _LIKELY), values.stored_threshold(_LIKELY)
    return {"colormap": as_hex(layer.colour), "contrast_limits": limits, "blending": "additive"}


def _labels(layer: Layer) -> dict[str, Any]:
    if layer.kind == "instances":
        return {"opacity": 0.4}
    colours = {1: as_hex(layer.colour)}
    if layer.kind == "difference":
        colours = {value: as_hex(colour) for value, colour in DIFFERENCE_COLOURS.items()}
    return {"opacity": 0.4, "colormap": {None: as_hex(layer.colour), 0: "transparent", **colours}}


def _lazy(level: Level, is_image: bool) -> Any:
    """Return a level as a Dask array; labels in a whole type, as napari takes no others."""
    dask = import_extra("dask.array", "napari's data", "csc-data[napari]")
    chunks = getattr(level.array, "chunks", None) or (_CHUNK,) * 3
    array = dask.from_array(_Slices(level), chunks=chunks, name=False)  # a name would be a hash of what it holds
    return array if is_image or level.dtype.kind in "iu" else array.astype(np.uint8)


class _Slices:
    """Reads slices of a level as native numpy arrays."""

    ndim = 3

    def __init__(self, level: Level) -> None:
        self._array = level.array
        self.shape, self.dtype = level.grid.shape, level.dtype

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        return np.asarray(self._array[box])
