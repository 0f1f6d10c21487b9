"""How many patches go through the network together."""

from __future__ import annotations

import math

from csc_train.prediction.window.tiling import Windows

_MOST_BYTES = 96 << 20  # of patches and what the network says of them; there are two batches at a time
_LARGEST = 8


def choose_batch_size(given: int | None, windows: Windows, channels: int) -> int:
    """Return how many patches go through the network together: as given, else as fit into little memory.

    Parameters
    ----------
    given : int or None
    windows : Windows
    channels : int
        That the network gives.

    Examples
    --------
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> from csc_data.loader.poses.placement import PatchShape
    >>> from csc_train.prediction.window.tiling import plan_windows
    >>> array = ArrayInfo(shape=(32, 32, 32), scale=(8, 8, 8))
    >>> windows = plan_windows(PatchShape(input=array, target=array))
    >>> choose_batch_size(3, windows, channels=2), choose_batch_size(None, windows, channels=2) >= 1
    (3, True)
    """
    if given is not None:
        return given
    patch = windows.patch
    arrays = [patch.input, *patch.further_inputs.values(), *[patch.target] * channels]
    return max(1, min(_LARGEST, _MOST_BYTES // (4 * sum(math.prod(info.shape) for info in arrays))))
