"""Losses that are a mean over known voxels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from csc_train.objectives.loss import VoxelLoss, per_channel


class BinaryCrossEntropy(VoxelLoss):
    """Binary cross-entropy of logits.

    Parameters
    ----------
    positive_weight : Tensor, optional
        Shape (C,): how much more a present voxel counts.
    """

    positive_weight: Tensor | None

    def __init__(self, positive_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("positive_weight", positive_weight)

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of each voxel."""
        weight = None if self.positive_weight is None else per_channel(self.positive_weight, output)[0]
        return functional.binary_cross_entropy_with_logits(
            output, target.to(output.dtype), pos_weight=weight, reduction="none"
        )
