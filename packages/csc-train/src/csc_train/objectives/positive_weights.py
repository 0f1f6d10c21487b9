"""How much the present voxels of a class count, from how rare they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from csc_data.loader import ClassCounts


def positive_weights(counts: ClassCounts, classes: Sequence[str], most: float) -> Tensor:
    """Return how much more a present voxel of each class should count: absent over present, from 1 to a limit.

    >>> counts = ClassCounts(present={"a": 10, "b": 60}, known={"a": 100, "b": 100})
    >>> positive_weights(counts, ["a", "b"], 20.0)
    tensor([9., 1.])
    """
    pairs = [(counts.present[name], counts.known[name]) for name in classes]
    weights = [(known - present) / present if present else 1.0 for present, known in pairs]
    return torch.tensor([min(max(weight, 1.0), most) for weight in weights])
