"""Where a mask is a prediction above a value: then the prediction can be resampled before it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    inside, outside = np.inf, -np.inf
    for block in BlockGrid(shape=inner.grid.shape, block_shape=_BLOCK_SHAPE):
        within = inner.array[block.write] > 0
        values = as_probabilities(outer.array[block.write], meaning.values)
        inside = min(inside, float(values[within].min(initial=np.inf)))
        outside = max(outside, float(values[~within].max(initial=-np.inf)))
        if inside <= outside:
            return None
    if not (np.isfinite(inside) and np.isfinite(outside)):
        return None
    return (inside + outside) / 2
