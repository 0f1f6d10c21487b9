"""What a viewer shows: volumes, each with a name, a group and how it is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from csc_data.challenge import ClassTable
from csc_data.challenge.colours import Colour, class_colour
from csc_data.geometry import Grid, Roi
from csc_data.view.inside import keep_inside
from csc_data.volumes import Level, Volume, open_volume
from csc_data.volumes.stored_values import StoredValues

Kind = Literal["raw", "probability", "mask", "instances", "difference"]
"""Grey values; how likely a class is; where it is; which object a voxel belongs to; where two volumes differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A volume in a viewer.

    Attributes
    ----------
    name : str
        As the viewer lists it, such as ``mito (truth)``.
    kind : {"raw", "probability", "mask", "instances", "difference"}
        How it is drawn.
    volume : Volume
        Its levels' arrays may be anything that has shape and dtype and is read by slices. On disk, links in its folder
        that lead out of it are not followed.
    class_name : str
        Whose colour it has; "" for raw.
    group : str
        What it belongs to: raw, truth, predictions, processed, submission.
    values : StoredValues or None
        What the numbers of a prediction mean; None is the whole range of their type as 0 to 1.
    visible : bool
        Whether it is drawn from the start; else it waits in the viewer's list, and nothing of it is read.
    table : ClassTable or None
        Which classes there are; None for the challenge's.
    """

    name: str
    kind: Kind
    volume: Volume
    class_name: str = ""
    group: str = ""
    values: StoredValues | None = None
    visible: bool = True
    table: ClassTable | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume", keep_inside(self.volume))

    @property
    def colour(self) -> Colour:
        """Red, green and blue of its class."""
        return class_colour(self.class_name or self.name, self.table)

    @property
    def roi(self) -> Roi:
        """Its extent in nm."""
        return self.volume.levels[0].grid.bounds


def open_layer(path: str | os.PathLike[str], name: str, kind: Kind, **more: Any) -> Layer:
    """Open a volume as a layer.

    Parameters
    ----------
    path : path-like
        Folder or URL, as `csc_data.volumes.open_volume` takes it.
    name, kind
        See `Layer`.
    **more : object
        Other attributes of a `Layer`.

    Raises
    ------
    MissingDataError, UnreadableDataError
        As `open_volume` does.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data import Grid, write_multiscale
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_multiscale(f"{folder}/raw", [np.ones((4, 4, 4), np.uint8)], [grid])
    ...     open_layer(f"{folder}/raw", "raw", "raw").roi
    Roi(begin=(-4.0, -4.0, -4.0), end=(28.0, 28.0, 28.0))
    """
    return Layer(name=name, kind=kind, volume=open_volume(path), **more)


def array_layer(
    array: Any,
    name: str,
    kind: Kind,
    *,
    voxel_size: Sequence[float],
    translation: Sequence[float] = (0.0, 0.0, 0.0),
    **more: Any,
) -> Layer:
    """Make a layer of an array, in memory or anything that has shape and dtype and is read by slices.

    Parameters
    ----------
    array : array-like
        (z, y, x).
    name, kind
        See `Layer`.
    voxel_size, translation : sequence of float
        nm, z, y, x; the translation is that of the centre of voxel 0.
    **more : object
        Other attributes of a `Layer`.

    Raises
    ------
    InvalidArgumentError
        If they make no grid.

    Examples
    --------
    >>> layer = array_layer(np.zeros((4, 4, 4), np.uint8), "mito", "segmentation", voxel_size=(8, 8, 8))
    >>> layer.roi
    Roi(begin=(-4.0, -4.0, -4.0), end=(28.0, 28.0, 28.0))
    """
    held = array if hasattr(array, "dtype") else np.asarray(array)
    grid = Grid(voxel_size=voxel_size, translation=translation, shape=tuple(held.shape))
    volume = Volume(path=name, levels=(Level(name="s0", grid=grid, array=held),), attributes={})
    return Layer(name=name, kind=kind, volume=volume, **more)
