"""Losses that participants bring: a class of torch, or of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_train.objectives.loss import VoxelLoss


class GivenLoss(VoxelLoss):
    """A loss that was given, as the sum over known voxels.

    Parameters
    ----------
    compare : callable
        Gives a value for each voxel of an output and a target.
    """

    def __init__(self, compare: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.compare = compare

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the values of the criterion.

        Raises
        ------
        InvalidArgumentError
            If it does not give one for each voxel.
        """
        values = self.compare(output, target)
        if values.shape != output.shape:
            raise InvalidArgumentError(
                f"the criterion gives {tuple(values.shape)} for {tuple(output.shape)}; a value per voxel is needed"
            )
        return values


def make_given(criterion: Any, arguments: Mapping[str, Any], positive_weight: Tensor | None, ndim: int) -> GivenLoss:
    """Return the loss that a class makes, with a value for each voxel.

    Parameters
    ----------
    criterion : type
        A class that takes ``reduction``.
    arguments : mapping
        Its other arguments.
    positive_weight : Tensor or None
        Shape (C,): given to classes that take ``pos_weight``.
    ndim : int
        Spatial axes of targets.

    Raises
    ------
    InvalidArgumentError
        If it does not take its arguments.
    """
    given = {**arguments, "reduction": "none"}
    if positive_weight is not None and "pos_weight" not in given and _takes(criterion, "pos_weight"):
        given["pos_weight"] = positive_weight.view(-1, *(1,) * ndim)
    try:
        made = criterion(**given)
    except TypeError as error:
        raise InvalidArgumentError(
            f"criterion {criterion!r} must be a class that takes reduction='none': {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise InvalidArgumentError(f"criterion {criterion!r} makes {made!r}, which is not a loss")
    return GivenLoss(made)


def _takes(criterion: Any, name: str) -> bool:
    return name in inspect.signature(criterion).parameters
