"""Losses that compare how far prediction and truth overlap, for each sample and class by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from csc_train.objectives.losses.loss import PairLoss, above_zero


class Tversky(PairLoss):
    """1 - the Tversky index of probabilities and truth: what both have over what either has, errors weighed.

    Source: Salehi et al., Tversky loss function for image segmentation, 2017, https://arxiv.org/abs/1706.05721

    Parameters
    ----------
    alpha, beta : float
        How much surplus and missed voxels count.
    smooth : float
        Voxels added to both sides of the ratio, so that absent classes have a gradient.
    batch : bool
        Whether the samples of a batch are compared as one, class by class. That suits small patches, of which many lack
        a class; but then several batches of a step are not what one large batch would be.

    Raises
    ------
    InvalidArgumentError
        If `smooth` is 0.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0, batch: bool = False) -> None:
        super().__init__()
        self.alpha, self.beta, self.smooth = alpha, beta, above_zero("smooth", smooth)
        self.batch = batch

    def weight(self, target: Tensor) -> Tensor:
        """Count the pairs of sample and class with any known voxel; the classes, if samples are compared as one."""
        return super().weight(_as_one_sample(target) if self.batch else target)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum over them."""
        if self.batch:
            output, target = _as_one_sample(output), _as_one_sample(target)
        return super().forward(output, target)

    def values(self, output: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the loss of each pair."""
        probability = (torch.sigmoid(output) * known).flatten(2)
        truth = target.flatten(2)
        both = (probability * truth).sum(2)
        surplus, missed = probability.sum(2) - both, truth.sum(2) - both
        return 1 - (both + self.smooth) / (both + self.alpha * surplus + self.beta * missed + self.smooth)


class Dice(Tversky):
    """1 - soft Dice: the Tversky loss with surplus and missed voxels counting half.

    Source: Milletari et al., V-Net, 2016, https://arxiv.org/abs/1606.04797

    Parameters
    ----------
    smooth : float
        Voxels added to both sides of the Dice ratio.
    batch : bool
        See `Tversky`.
    """

    def __init__(self, smooth: float = 1.0, batch: bool = False) -> None:
        super().__init__(alpha=0.5, beta=0.5, smooth=smooth / 2, batch=batch)


def _as_one_sample(values: Tensor) -> Tensor:
    """Return (B, C, [z,] y, x) as (1, C, B * z * y * x)."""
    return values.transpose(0, 1).flatten(1).unsqueeze(0)
