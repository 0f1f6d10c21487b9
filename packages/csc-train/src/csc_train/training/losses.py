"""Losses over what is known: NaN in a target is unknown and takes no part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_data.errors import InvalidArgumentError

_SMOOTH = 1.0  # voxels added to both sides of the Dice ratio, so that absent classes have a gradient

_TERMS = {"bce": ("bce",), "dice": ("dice",), "bce_dice": ("bce", "dice")}


class Loss(NamedTuple):
    """A loss and the number of known voxels that it is the mean of."""

    value: Tensor
    known: int


class KnownVoxelLoss(nn.Module):
    """A loss that is the mean over the known voxels.

    Ten percent annotated give the same loss as these voxels alone. Nothing known gives 0, with a gradient of 0.

    Parameters
    ----------
    criterion : str or callable
        ``"bce"`` (binary cross-entropy of logits), ``"dice"`` (1 - soft Dice of each class over the batch, mean over
        the classes that are known), ``"bce_dice"`` (their sum), or the class of a torch loss that takes
        ``reduction="none"`` and gives a value per voxel.
    arguments : mapping
        Arguments of that class.
    positive_weight : Tensor, optional
        Shape (C,): how much more a present voxel counts in the cross-entropy.

    Raises
    ------
    InvalidArgumentError
        If the criterion is not known, or does not take its arguments.
    """

    positive_weight: Tensor | None

    def __init__(
        self, criterion: Any = "bce", arguments: Mapping[str, Any] | None = None, positive_weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("positive_weight", positive_weight)
        self.terms: tuple[str, ...] = ()
        self.voxelwise: Any = None
        if isinstance(criterion, str) and criterion in _TERMS:
            self.terms = _TERMS[criterion]
        else:
            self.voxelwise = _make_voxelwise(criterion, arguments or {})

    def forward(self, logits: Tensor, target: Tensor) -> Loss:
        """Compare logits with targets (1, 0, NaN), both of shape (B, C, [z,] y, x)."""
        known = ~torch.isnan(target)
        count = int(known.sum())
        if count == 0:
            return Loss(logits.sum() * 0.0, 0)
        filled = torch.where(known, target, torch.zeros_like(target))
        if self.voxelwise is not None:
            values = self.voxelwise(logits, filled)
            if values.shape != logits.shape:
                raise InvalidArgumentError(
                    f"the criterion gives {tuple(values.shape)} for {tuple(logits.shape)}; a value per voxel is needed"
                )
            return Loss(torch.where(known, values, torch.zeros_like(values)).sum() / count, count)
        value = logits.new_zeros(())
        if "bce" in self.terms:
            value = value + self._cross_entropy(logits, filled, known) / count
        if "dice" in self.terms:
            value = value + soft_dice_loss(logits, filled, known)
        return Loss(value, count)

    def _cross_entropy(self, logits: Tensor, filled: Tensor, known: Tensor) -> Tensor:
        weight = known.to(logits.dtype)
        if self.positive_weight is not None:
            factor = self.positive_weight.view(1, -1, *(1,) * (logits.ndim - 2)).to(logits.dtype)
            weight = weight * (1 + filled * (factor - 1))
        return functional.binary_cross_entropy_with_logits(logits, filled, weight=weight, reduction="sum")


def _make_voxelwise(criterion: Any, arguments: Mapping[str, Any]) -> Any:
    if isinstance(criterion, str) or not callable(criterion):
        raise InvalidArgumentError(f"there is no criterion {criterion!r}; known are {', '.join(_TERMS)}")
    try:
        made = criterion(**{**arguments, "reduction": "none"})
    except TypeError as error:
        raise InvalidArgumentError(
            f"criterion {criterion!r} must be a class that takes reduction='none': {error}"
        ) from error
    if not callable(made):
        raise InvalidArgumentError(f"criterion {criterion!r} makes {made!r}, which is nothing to call")
    return made


def soft_dice_loss(logits: Tensor, filled: Tensor, known: Tensor) -> Tensor:
    """Return 1 - soft Dice, the mean over classes with known voxels.

    Source: Milletari et al., V-Net, 2016, https://arxiv.org/abs/1606.04797

    Parameters
    ----------
    logits, filled, known : Tensor
        Shape (B, C, ...); targets with 0 where unknown, and whether each voxel is known.
    """
    axes = [0, *range(2, logits.ndim)]
    probability = torch.sigmoid(logits) * known
    both = (probability * filled).sum(axes)
    either = probability.sum(axes) + filled.sum(axes)
    loss = 1 - (2 * both + _SMOOTH) / (either + _SMOOTH)
    return loss[known.any(0).flatten(1).any(1)].mean()


def positive_weights(present: Mapping[str, int], known: Mapping[str, int], most: float) -> Tensor:
    """Return how much more a present voxel of each class should count: absent over present, from 1 to a limit.

    >>> positive_weights({"a": 10, "b": 60}, {"a": 100, "b": 100}, 20.0)
    tensor([9., 1.])
    """
    weights = [(known[name] - count) / count if count else 1.0 for name, count in present.items()]
    return torch.tensor([min(max(weight, 1.0), most) for weight in weights])
