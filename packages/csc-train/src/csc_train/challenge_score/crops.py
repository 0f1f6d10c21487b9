"""Validation crops that are put together from tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_train.challenge_score.plan import ScoredCrop

Packed = npt.NDArray[np.uint8]
"""Probabilities as `csc_train.predict` stores them: 255 stands for 1; shape (z, y, x)."""


class GrowingCrop:
    """The probabilities of some classes in a crop, as far as its tiles have come.

    Parameters
    ----------
    crop : ScoredCrop
    classes : sequence of str

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(1, 1, 4))
    >>> crop = ScoredCrop(
    ...     number=0, name="mine/crop1", grid=grid, annotations={"er": "er"}, instances=frozenset(), tiles=2
    ... )
    >>> growing = GrowingCrop(crop, ["er"])
    >>> growing.add(np.full((1, 1, 1, 2), 255, np.uint8), centre_nm=(4, 4, 24))
    >>> growing.values["er"].tolist(), growing.is_whole
    ([[[0, 0, 255, 255]]], False)
    """

    def __init__(self, crop: ScoredCrop, classes: Sequence[str]) -> None:
        self.crop = crop
        self.values: dict[str, Packed] = {name: np.zeros(crop.grid.shape, np.uint8) for name in classes}
        self.tiles = 0

    def add(self, tile: npt.NDArray[Any], centre_nm: Sequence[float]) -> None:
        """Take in a tile.

        Parameters
        ----------
        tile : ndarray
            uint8, shape (classes, z, y, x); what hangs over the end of the crop is left out.
        centre_nm : sequence of float
            z, y, x of its centre.
        """
        grid, shape = self.crop.grid, tile.shape[1:]
        place = zip(centre_nm, grid.translation, grid.voxel_size, shape, strict=True)
        begin = [round((centre - first) / nm - (n - 1) / 2) for centre, first, nm, n in place]
        box = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
        for values, part in zip(self.values.values(), tile, strict=True):
            z, y, x = values[box].shape
            values[box] = part[:z, :y, :x]
        self.tiles += 1

    @property
    def is_whole(self) -> bool:
        """Whether all tiles have come."""
        return self.tiles == self.crop.tiles
