"""Where a mask is a prediction above a value: then the prediction can be resampled before it is cut."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.blocks import BlockGrid
from csc_data.errors import CscError
from csc_data.volumes import Volume, open_volume
from csc_submit.values import as_probabilities, find_meaning

_BLOCK_SHAPE = (128, 128, 128)


def find_cut(mask: Volume, prediction: Path) -> float | None:
    """Return the probability above which a mask has its voxels; None if it is more than a threshold of the prediction.

    The values themselves tell: a threshold leaves every voxel of the mask above every other one. Nothing needs to be
    known of how the mask was made, and none that was smoothed, filtered or joined passes.

    Parameters
    ----------
    mask : Volume
        Its finest level is looked at.
    prediction : Path
        A volume of probabilities, logits or distances.

    Returns
    -------
    float or None
        Half way between the least probability inside and the largest outside. None also where there is no such
        prediction on the same grid, and where the mask is empty or full, so that it does not say.
    """
    try:
        volume = open_volume(prediction)
        meaning = find_meaning(volume)
    except CscError:
        return None
    inner, outer = mask.levels[0], volume.levels[0]
    if meaning.is_label or inner.grid != outer.grid:
        return None
    blocks = BlockGrid(shape=inner.grid.shape, block_shape=_BLOCK_SHAPE)
    return cut_between(
        (inner.array[block.write] > 0, as_probabilities(outer.array[block.write], meaning.values)) for block in blocks
    )


def cut_between(parts: Iterable[tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]]) -> float | None:
    """Return half way between the least value inside a mask and the largest outside; None where these do not part.

    Parameters
    ----------
    parts : iterable
        Masks, and values of the same shape, block by block.

    Examples
    --------
    >>> values = np.array([0.1, 0.4, 0.6, 0.9])
    >>> cut_between([(values > 0.5, values)])
    0.5
    >>> cut_between([(np.array([True, False, True, True]), values)]) is None
    True
    """
    inside, outside = np.inf, -np.inf
    for within, values in parts:
        inside = min(inside, float(values[within].min(initial=np.inf)))
        outside = max(outside, float(values[~within].max(initial=-np.inf)))
        if inside <= outside:
            return None
    return (inside + outside) / 2 if np.isfinite(inside) and np.isfinite(outside) else None
