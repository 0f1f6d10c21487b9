"""Losses that are a mean over known voxels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from csc_train.objectives.losses.loss import VoxelLoss, per_channel


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


class Focal(BinaryCrossEntropy):
    """Binary cross-entropy of logits, in which voxels count less the surer the network is of what is right.

    Source: Lin et al., Focal loss for dense object detection, 2017, https://arxiv.org/abs/1708.02002

    Parameters
    ----------
    gamma : float
        A voxel counts ``(1 - p) ** gamma``, with p the probability of what is right.
    alpha : float, optional
        How much present voxels count; absent ones count ``1 - alpha``. Takes the place of `positive_weight`.
    positive_weight : Tensor, optional
        Shape (C,): how much more a present voxel counts.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = None, positive_weight: Tensor | None = None) -> None:
        super().__init__(positive_weight if alpha is None else None)
        self.gamma, self.alpha = gamma, alpha

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the focal loss of each voxel."""
        # As an exponential of logarithms: a power of 0 has no gradient for a gamma below 1.
        wrong = torch.exp(self.gamma * functional.logsigmoid(output * (1 - 2 * target)))
        values = super().values(output, target) * wrong
        return values if self.alpha is None else values * (self.alpha * target + (1 - self.alpha) * (1 - target))


class MeanSquaredError(VoxelLoss):
    """The squared difference, for targets such as distances: what the network gives is compared as it is."""

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference of each voxel."""
        return (output - target) ** 2
