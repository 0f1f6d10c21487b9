"""Where the samples of a batch come from, and how they lie there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches

PLACE_NAMES = ("place_crop", "place_centre_nm", "place_linear", "place_class", "place_elastic")
"""What batches say of their samples beside the arrays; see `read_places`."""


def read_places(patches: TrainingPatches | ValidationPatches, indices: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
    """Return where samples come from: a voxel lies at ``centre_nm + linear @ offset``, if it is not bent.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
    indices : sequence of int
        B samples.

    Returns
    -------
    dict of ndarray
        ``place_crop``, int64 (B,): number in ``patches.reader.crops``, which knows its name.
        ``place_centre_nm``, float64 (B, 3): z, y, x of the centre of the patch.
        ``place_linear``, float64 (B, 3, 3): from offsets in nm along the patch's axes to such along the volume's.
        ``place_class``, int64 (B,): the channel of which a voxel had to be in the patch; -1 for any place.
        ``place_elastic``, bool (B,): whether it is bent besides; `patches.place` has the displacement.
    """
    places = [patches.place(index) for index in indices]
    channels = {name: channel for channel, name in enumerate(patches.reader.classes)}
    found = (
        np.array([place.crop for place in places], dtype=np.int64),
        np.array([place.patch_map.centre for place in places], dtype=np.float64).reshape(-1, 3),
        np.array([place.patch_map.linear for place in places], dtype=np.float64).reshape(-1, 3, 3),
        np.array([-1 if p.class_name is None else channels[p.class_name] for p in places], dtype=np.int64),
        np.array([place.patch_map.displacement is not None for place in places], dtype=np.bool_),
    )
    return dict(zip(PLACE_NAMES, found, strict=True))
