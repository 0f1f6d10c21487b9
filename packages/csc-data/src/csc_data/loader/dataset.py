"""A loader's samples one by one, as a data set of torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.utils.data import Dataset

from csc_data.errors import InvalidArgumentError
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.sampling.drawing import AnchorDraws
from csc_data.loader.workers.memory import allocate_shared

ArraySpec = dict[str, tuple[float, ...]]


class SampleDataset(Dataset[dict[str, torch.Tensor]]):
    """Samples by their index, for the samplers and loaders of torch and of other frameworks.

    Those divide the indices between processes. A training epoch has as many samples as is said, drawn when they are
    asked for; the same index gives the same sample until `set_epoch` chooses another epoch, also for workers that
    live already. Validation has its tiles.

    Parameters
    ----------
    patches : TrainingPatches or ValidationPatches
        ``PatchLoader.patches``.
    length : int, optional
        Samples of a training epoch, in all processes together; of validation, all tiles by default.

    Attributes
    ----------
    classes : list of str
    input_arrays, target_arrays : dict
        Names in samples to ``{"shape": ..., "scale": ...}``.

    Raises
    ------
    InvalidArgumentError
        If a training epoch has no length, or validation fewer tiles than that.
    """

    def __init__(self, patches: TrainingPatches | ValidationPatches, length: int | None = None) -> None:
        tiles = len(patches) if isinstance(patches, ValidationPatches) else None
        if length is None and tiles is None:
            raise InvalidArgumentError("training samples have no end: say the length of an epoch")
        if length is not None and tiles is not None and length > tiles:
            raise InvalidArgumentError(f"there are {tiles} tiles, got a length of {length}")
        self.patches = patches
        self.classes = list(patches.reader.classes)
        self.input_arrays = _specs(patches.reader.inputs)
        self.target_arrays = _specs(patches.reader.targets)
        self._length = tiles if length is None else length
        self._epoch = allocate_shared((1,), np.int64).zero_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the samples of a training epoch, for workers as well."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        assert self._length is not None
        return self._length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        first = 0 if isinstance(self.patches, ValidationPatches) else int(self._epoch[0]) * len(self)
        return {name: torch.from_numpy(values) for name, values in self.patches[first + int(index)].items()}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Voxels of each class in all crops, at the voxel size of the targets: ``totals`` are present.

        ``totals_total`` are known.
        """
        draws = self.patches.draws if isinstance(self.patches, TrainingPatches) else AnchorDraws(self.patches.reader)
        counts = draws.class_counts()
        return {"totals": dict(counts.present), "totals_total": dict(counts.known)}

    @property
    def class_weights(self) -> dict[str, float]:
        """Absent voxels for each present one, as the official training weights its loss."""
        counts = self.class_counts
        present, known = counts["totals"], counts["totals_total"]
        return {name: (known[name] - present[name]) / max(1, present[name]) for name in self.classes}


def _specs(arrays: Mapping[str, ArrayInfo]) -> dict[str, ArraySpec]:
    return {name: {"shape": array.shape, "scale": array.scale} for name, array in arrays.items()}
