"""Understanding a criterion: which losses compare which output with which target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from csc_data.errors import InvalidArgumentError, did_you_mean
from csc_train.objectives.given import make_given
from csc_train.objectives.loss import Loss
from csc_train.objectives.overlaps import Dice
from csc_train.objectives.voxelwise import BinaryCrossEntropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A loss that compares an output with a target, and how much it counts in the total.

    Attributes
    ----------
    name : str
        What it is called in logs.
    output, target : str
        Names of what the network gives, and of an array of the batch.
    """

    name: str
    output: str
    target: str
    loss: Loss
    factor: float = 1.0


_PARTS = {"bce": ("bce",), "dice": ("dice",), "bce_dice": ("bce", "dice")}


def read_criterion(
    criterion: Any, arguments: Mapping[str, Any], positive_weight: Tensor | None, ndim: int
) -> dict[str, Loss]:
    """Return the losses of a criterion by name.

    Parameters
    ----------
    criterion : str or type
        A name, or a class that makes a loss.
    arguments : mapping
        Its arguments.
    positive_weight : Tensor or None
        Shape (C,): how much more present voxels count.
    ndim : int
        Spatial axes of targets.

    Raises
    ------
    InvalidArgumentError
        If there is no such criterion, or it does not take its arguments.
    """
    if not isinstance(criterion, str):
        if not callable(criterion):
            raise InvalidArgumentError(f"criterion must be a name or a class, got {criterion!r}")
        return {"loss": make_given(criterion, arguments, positive_weight, ndim)}
    if criterion not in _PARTS:
        raise InvalidArgumentError(f"there is no criterion {criterion!r}; {did_you_mean(criterion, _PARTS)}")
    made: dict[str, Loss] = {}
    for part in _PARTS[criterion]:
        made[part] = BinaryCrossEntropy(positive_weight) if part == "bce" else Dice()
    return made
