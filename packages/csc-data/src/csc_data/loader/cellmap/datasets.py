"""All crops of a usage as a `CellMapMultiDataset`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from cellmap_data import CellMapMultiDataset

from csc_data.loader.cellmap.crops import CropDataset, DrawnCrop, TiledCrop
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.sampling.drawing import AnchorDraws

# cellmap-data's loader shuffles by listing all indices: as many as positions, 10^9, would not fit into memory.
MOST_INDICES = 1 << 20


class CropsDataset(CellMapMultiDataset):  # type: ignore[misc]
    """Crops one after the other.

    Parameters
    ----------
    crops : sequence of CropDataset
        At least one.
    """

    def __init__(self, crops: Sequence[CropDataset]) -> None:
        super().__init__(crops, crops[0].classes, crops[0].input_arrays, crops[0].target_arrays)

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Voxels of each class over all crops, see `CropDataset.class_counts`."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            of_crops = list(pool.map(lambda crop: crop.class_counts, self.datasets))
        return {
            kind: {name: sum(counts[kind][name] for counts in of_crops) for name in self.classes}
            for kind in ("totals", "totals_total")
        }


def as_cellmap_dataset(patches: TrainingPatches | ValidationPatches) -> CropsDataset:
    """Return the crops of a loader's patches, as cellmap-data has them.

    Training crops have one index for each position at which a patch fits, or fewer in proportion where all together
    would be over a million; each access draws a new sample from the crop. Validation crops have one for each tile.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
        ``PatchLoader.patches``.
    """
    if isinstance(patches, ValidationPatches):
        count = AnchorDraws(patches.reader).counts
        firsts = np.cumsum([0, *patches.tile_counts])
        tiles = enumerate(zip(firsts.tolist(), patches.tile_counts, strict=False))
        return CropsDataset(
            [TiledCrop(patches, crop, first=first, length=length, count=count) for crop, (first, length) in tiles]
        )
    reader = patches.reader
    positions = [_positions(reader.grid(crop).shape, reader.patch.target.shape) for crop in range(len(reader.crops))]
    share = min(1.0, MOST_INDICES / sum(positions))
    lengths = [max(1, int(count * share)) for count in positions]
    return CropsDataset(
        [DrawnCrop(patches, crop, length=length, count=patches.draws.counts) for crop, length in enumerate(lengths)]
    )


def _positions(crop: Sequence[int], patch: Sequence[int]) -> int:
    count: Any = 1
    for n, m in zip(crop, patch, strict=True):
        count *= max(1, n - m + 1)
    return int(count)
