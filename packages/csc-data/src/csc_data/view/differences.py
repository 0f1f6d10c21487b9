"""Where two volumes of one class agree, computed as it is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.challenge.colours import Colour
from csc_data.errors import CscError
from csc_data.formats.cache import passing_through
from csc_data.view.layers import Layer
from csc_data.view.overview import with_overview
from csc_data.volumes import Level, Volume

MISSED, FALSE, AGREED = 1, 2, 3
DIFFERENCE_COLOURS: dict[int, Colour] = {MISSED: (230, 159, 0), FALSE: (204, 121, 167), AGREED: (0, 158, 115)}
"""Of the first alone, of the second alone, and of both; colour-blind people can tell them apart, too."""

_CHUNK = 64


def difference_layer(first: Layer, second: Layer, name: str, *, threshold: float = 0.5) -> Layer:
    """Return the layer of where one volume has a class and another one has not.

    Parameters
    ----------
    first, second : Layer
        The second is read at the voxels of the first, from the nearest of its own; outside of it there is nothing.
    name : str
    threshold : float
        Probability from which on a voxel belongs to the class.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> truth = array_layer(np.array([[[0, 1, 1]]], np.uint8), "truth", "segmentation", voxel_size=(8, 8, 8))
    >>> mine = array_layer(np.array([[[0, 0, 1]]], np.uint8), "mine", "segmentation", voxel_size=(8, 8, 8))
    >>> layer = difference_layer(truth, mine, "truth and mine")
    >>> np.asarray(layer.volume.levels[0].array[:, :, :]).tolist()  # 1: in the first alone, 3: in both
    [[[0, 1, 3]]]
    """
    ours, theirs = with_overview(first), with_overview(second)
    levels = [
        Level(name=level.name, grid=level.grid, array=Difference(ours, theirs, threshold, number))
        for number, level in enumerate(ours.volume.levels)
    ]
    volume = Volume(path=name, levels=tuple(levels), attributes={})
    return Layer(name=name, kind="difference", volume=volume, class_name=first.class_name, group="difference")


class Difference:
    """An array of `MISSED`, `FALSE`, `AGREED`, and 0 where neither is; read by slices.

    Parameters
    ----------
    first, second : Layer
    threshold : float
    number : int
        Which level of the first; the second is read from the level that fits it.
    """

    dtype = np.dtype("u1")

    def __init__(self, first: Layer, second: Layer, threshold: float, number: int = 0) -> None:
        self._first, self._second, self._threshold = first, second, threshold
        self._level = first.volume.levels[number]
        self.shape = self._level.grid.shape
        self.chunks = getattr(self._level.array, "chunks", (_CHUNK,) * 3)

    def __getitem__(self, box: tuple[slice, slice, slice]) -> npt.NDArray[np.uint8]:
        bounds = [part.indices(n) for part, n in zip(box, self.shape, strict=True)]
        begin, shape = [b for b, _, _ in bounds], [max(0, e - b) for b, e, _ in bounds]
        if not all(shape):
            return np.zeros(shape, np.uint8)
        window = self._level.grid.window(begin, shape)
        with passing_through():  # whoever asks holds what it gets; held as well, whole volumes would fill the memory
            ours = is_class(self._first, self._level.array[box], self._threshold)
            theirs = is_class(self._second, self._second.volume.read(window, 0), self._threshold)
        found: npt.NDArray[np.uint8] = MISSED * ours.astype(np.uint8) + FALSE * theirs.astype(np.uint8)
        return found


def is_class(layer: Layer, values: Any, threshold: float) -> npt.NDArray[np.bool_]:
    """Tell which voxels belong to a layer's class: of a probability from the threshold on, of labels all but 0.

    Examples
    --------
    >>> from csc_data.view.layers import array_layer
    >>> layer = array_layer(np.zeros((1, 1, 3), np.uint8), "mito", "probability", voxel_size=(8, 8, 8))
    >>> is_class(layer, np.array([0, 100, 200], np.uint8), threshold=0.5).tolist()
    [False, False, True]
    """
    read = np.asarray(values)
    if layer.kind != "probability":
        return np.asarray(read != 0)
    stored = threshold * (np.iinfo(read.dtype).max if read.dtype.kind in "iu" else 1)
    if layer.values is not None:
        try:
            stored = layer.values.stored_threshold(threshold)
        except CscError:  # labels after all
            return np.asarray(read != 0)
    return np.asarray(read >= stored)
