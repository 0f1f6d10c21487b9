"""Cross-entropy of classes that exclude each other."""

from __future__ import annotations

import torch
from torch import Tensor

from csc_train.objectives.losses.loss import Loss, exact_dtype, per_channel


class ExclusiveCrossEntropy(Loss):
    """Cross-entropy over classes of which a voxel has one or none; the softmax of logits, and of 0 for none of them.

    A voxel counts where anything is known of it. Where a class is present, that is what it should be. Where some are
    known to be absent, it should be one of the others or none: the loss is that of the sum of their probabilities, so
    nothing is assumed of a class that nobody annotated there.

    Source of that sum: Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ segmentation,
    2021, https://arxiv.org/abs/2007.03868

    Parameters
    ----------
    positive_weight : Tensor, optional
        Shape (C,): how much more a voxel of each class counts than one of none.
    """

    per_voxel = True
    positive_weight: Tensor | None

    def __init__(self, positive_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("positive_weight", positive_weight)

    def weight(self, target: Tensor) -> Tensor:
        """Count the voxels of which anything is known, once for all channels."""
        return (~torch.isnan(target)).any(1).sum().to(exact_dtype(target.device))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum over voxels of which anything is known."""
        known = ~torch.isnan(target)
        output = torch.where(known.any(1, keepdim=True), output, 0.0)
        present = target > 0.5
        none_present = ~present.any(1, keepdim=True)
        # None of the classes comes first.
        possible = torch.cat([none_present, present | (none_present & ~known)], 1)
        logits = torch.cat([torch.zeros_like(output[:, :1]), output], 1)
        values = logits.logsumexp(1) - logits.masked_fill(~possible, -torch.inf).logsumexp(1)
        if self.positive_weight is not None:
            of_class = (present * per_channel(self.positive_weight, output)).amax(1)
            values = values * torch.where(none_present[:, 0], 1.0, of_class)
        return values.sum()


def exclusive_probability(output: Tensor) -> Tensor:
    """Return the probability of each class, from logits (B, C, [z,] y, x); what is missing to 1 is that of none.

    Examples
    --------
    >>> import torch
    >>> exclusive_probability(torch.zeros(1, 3, 1, 1)).flatten().tolist()  # three classes, and none of them
    [0.25, 0.25, 0.25]
    """
    return torch.cat([torch.zeros_like(output[:, :1]), output], 1).softmax(1)[:, 1:]
