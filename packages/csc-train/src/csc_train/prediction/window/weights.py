"""How much a patch says in each of its voxels, where patches overlap."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from csc_data.geometry import Shape
from csc_train.prediction.window.tiling import Blending

SIGMA = 0.125
"""Standard deviation of the Gaussian, in edges of the window."""

MONAI_LEAST = 1e-3
"""The least weight that MONAI's `sliding_window_inference` gives a voxel.

With it windows count alike where all are far from their centres, and values jump where one of them ends: for the demo's
network by a third more than elsewhere, at an overlap of a quarter. So there is none in prediction.
"""


@functools.lru_cache(maxsize=16)
def window_weights(size: Shape, blending: Blending, least: float = 0.0) -> npt.NDArray[np.float32]:
    """Return the weights of a window, shape ``size``; the same however it is mirrored. Not to be written to.

    With `MONAI_LEAST` they are those of MONAI's `sliding_window_inference`. They are above 0 without a least one, too.

    Examples
    --------
    >>> weights = window_weights((1, 1, 4), "gaussian")[0, 0]
    >>> bool(weights[0] == weights[3] < weights[1] == weights[2])
    True
    """
    weights = np.ones(size, dtype=np.float32)
    if blending == "gaussian":
        for axis, n in enumerate(size):
            offset = np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2)
            along = np.exp(offset**2 / np.float32(-2 * (SIGMA * n) ** 2))
            weights *= along.reshape([-1 if a == axis else 1 for a in range(3)])
        np.maximum(weights, np.float32(least), out=weights)
    weights.flags.writeable = False
    return weights
