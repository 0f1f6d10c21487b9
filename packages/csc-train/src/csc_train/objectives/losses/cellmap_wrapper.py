"""The official toolbox's wrapper of losses, for participants' own loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from csc_train.objectives.losses.given import GivenLoss, make_given


class CellMapLossWrapper(nn.Module):
    """A torch loss over known voxels, with the call of the official toolbox's class of this name.

    The official one divides by all voxels, so that a loss is smaller the less is known; this one divides by those that
    are known. As the ``criterion`` of an experiment, both are the loss that they wrap.

    Parameters
    ----------
    loss_fn : type
        The class of a loss.
    **kwargs : object
        Its arguments.

    Raises
    ------
    InvalidArgumentError
        If it does not take its arguments.
    """

    def __init__(self, loss_fn: Any, **kwargs: Any) -> None:
        super().__init__()
        self._masked: GivenLoss = make_given(loss_fn, kwargs, None, 3)

    @property
    def loss_fn(self) -> Any:
        """The loss that is wrapped."""
        return self._masked.compare

    def forward(
        self, outputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor], targets: Tensor | Mapping[str, Tensor]
    ) -> Tensor:
        """Return the mean over known voxels; of several targets, the mean of theirs.

        Parameters
        ----------
        outputs : Tensor, sequence or mapping
            Shape (B, C, [z,] y, x); of several targets by name, or in their order.
        targets : Tensor or mapping
            Of the same shapes; NaN where unknown.
        """
        if isinstance(targets, Tensor):
            assert isinstance(outputs, Tensor)
            weight = self._masked.weight(targets)
            total: Tensor = self._masked(outputs, targets) / weight.clamp(min=1)
            return total
        by_name = isinstance(outputs, Mapping)
        values = [outputs[name if by_name else number] for number, name in enumerate(targets)]  # type: ignore[index]  # as outputs come
        means = [self(output, target) for output, target in zip(values, targets.values(), strict=True)]
        return torch.stack(means).mean()
