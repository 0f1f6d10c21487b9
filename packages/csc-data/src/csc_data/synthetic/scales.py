"""Coarser scale levels of tissue: the image is averaged, classes are decided by majority."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.synthetic.tissue.growing import Tissue

FACTOR = 2


def halve_image(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Average blocks of 2 x 2 x 2 voxels, rounded; a last odd plane is dropped."""
    total: npt.NDArray[np.uint16] = np.sum(_corners(image), axis=0, dtype=np.uint16)
    return ((total + 4) // 8).astype(np.uint8)


def halve_tissue(tissue: Tissue) -> Tissue:
    """Merge blocks of 2 x 2 x 2 voxels: the most frequent class wins, the first of them on a tie.

    Objects and cells are those of a voxel that has the winning class, so that groups, parts and instances stay
    consistent.
    """
    corners = _corners(tissue.atoms)
    votes = [np.sum([other == corner for other in corners], axis=0, dtype=np.uint8) for corner in corners]
    winner = np.argmax(votes, axis=0)[None]

    def pick(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        chosen: npt.NDArray[Any] = np.take_along_axis(np.stack(_corners(values)), winner, axis=0)[0]
        return chosen

    z, y, x = (FACTOR * v for v in tissue.voxel_size)
    return Tissue(
        voxel_size=(z, y, x),
        raw=halve_image(tissue.raw),
        atoms=pick(tissue.atoms),
        objects=pick(tissue.objects),
        cells=pick(tissue.cells),
    )


def _corners(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    even = values[tuple(slice(0, n - n % FACTOR) for n in values.shape)]
    return [even[dz::FACTOR, dy::FACTOR, dx::FACTOR] for dz in (0, 1) for dy in (0, 1) for dx in (0, 1)]
