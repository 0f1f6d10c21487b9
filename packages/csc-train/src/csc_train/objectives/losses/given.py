"""Losses that participants bring: a class of torch or of their own, an instance, or a function."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError
from csc_train.objectives.losses.loss import Loss, exact_dtype, known_pairs

logger = logging.getLogger(__name__)

Compare = Callable[[Tensor, Tensor], Tensor]
Grain = Literal["voxel", "position", "pair"]

OFFICIAL_WRAPPER = "CellMapLossWrapper"


class GivenLoss(Loss):
    """A loss that was given, over what is known.

    What it gives for a whole batch, of shape (B, C, [z,] y, x), tells how it is masked:

    - A value for each voxel is summed over known voxels.
    - A value for each position, (B, [z,] y, x), is summed over those where all channels are known.
    - Anything else stands for one number: it is called for each sample and class with any known voxel, with (1, 1, z,
      y, x) where all voxels are known, else with the known ones in a row, (1, 1, n).

    Parameters
    ----------
    compare : callable
        Compares an output with a target.
    """

    def __init__(self, compare: Compare) -> None:
        super().__init__()
        self.compare = compare
        self.per_voxel = True
        self._grain: Grain | None = None

    def weight(self, target: Tensor) -> Tensor:
        """Count known voxels, positions or pairs."""
        grain = self._find_grain(target)
        counted = known_pairs(target) if grain == "pair" else ~torch.isnan(target)
        counted = counted.all(1) if grain == "position" else counted
        return counted.sum().to(exact_dtype(target.device))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum over known voxels, positions or pairs."""
        grain = self._find_grain(target)
        known = ~torch.isnan(target)
        if grain == "pair":
            return self._sum_pairs(output, target, known)
        if grain == "position":
            known = known.all(1, keepdim=True)
        values = self._compare(torch.where(known, output, 0.0), torch.where(known, target, 0.0))
        return torch.where(known.view_as(values), values, 0.0).sum()

    def _compare(self, output: Tensor, target: Tensor) -> Tensor:
        values = self.compare(output, target)
        if output.requires_grad and isinstance(values, Tensor) and not values.requires_grad:
            raise InvalidArgumentError(
                "what the criterion gives has no gradient, so nothing would be learnt; it must not detach, round or "
                "threshold the output"
            )
        return values

    def _sum_pairs(self, output: Tensor, target: Tensor, known: Tensor) -> Tensor:
        total = torch.where(known, output, 0.0).sum() * 0.0  # has a gradient where nothing is known
        for sample, channel in known_pairs(target).nonzero().tolist():
            place = slice(sample, sample + 1), slice(channel, channel + 1)
            mask = known[place]
            one, other = output[place], target[place]
            if not mask.all():
                one, other = one[mask].view(1, 1, -1), other[mask].view(1, 1, -1)
            value = self._compare(one, other)
            if value.numel() != 1:
                raise InvalidArgumentError(f"the criterion gives {tuple(value.shape)} for a single sample and class")
            total = total + value.sum()
        return total

    @torch.no_grad()
    def _find_grain(self, target: Tensor) -> Grain:
        """Tell by a first target of what the criterion gives values."""
        if self._grain is None:
            filled = torch.nan_to_num(target, nan=0.0)
            values = self.compare(torch.zeros_like(filled), filled)
            if not isinstance(values, Tensor):
                raise InvalidArgumentError(f"the criterion must give a tensor, got {values!r}")
            flat = (len(target), *target.shape[2:])
            if values.shape == target.shape:
                self._grain = "voxel"
            else:
                self._grain = "position" if tuple(values.shape) == flat else "pair"
            self.per_voxel = self._grain != "pair"
        return self._grain


def make_given(criterion: Any, arguments: Mapping[str, Any], positive_weight: Tensor | None, ndim: int) -> GivenLoss:
    """Return the loss of a criterion, asked for separate values where it can give them (``reduction="none"``).

    Parameters
    ----------
    criterion : type or callable
        A class, an instance, or a function. An instance is copied; of a ``CellMapLossWrapper`` its loss is taken.
    arguments : mapping
        Arguments of a class or a function.
    positive_weight : Tensor or None
        Shape (C,): given to classes that take ``pos_weight``.
    ndim : int
        Spatial axes of targets.

    Raises
    ------
    InvalidArgumentError
        If it does not take its arguments, or is not a loss.
    """
    arguments = dict(arguments)
    if _is_class(criterion):
        wrapped = arguments.get("loss_fn") if criterion_name(criterion) == OFFICIAL_WRAPPER else criterion
        if positive_weight is not None and takes_positive_weight(wrapped):
            arguments.setdefault("pos_weight", positive_weight.view(-1, *(1,) * ndim))
        made = _call(criterion, arguments)
    elif isinstance(criterion, nn.Module):
        if arguments:
            raise InvalidArgumentError(
                f"criterion {criterion_name(criterion)} is made already; give it {', '.join(arguments)} when it is made"
            )
        made = copy.deepcopy(criterion)
    elif callable(criterion):
        made = functools.partial(criterion, **_separate(criterion, arguments))
    else:
        made = criterion
    if criterion_name(type(made)) == OFFICIAL_WRAPPER:
        made = made.loss_fn
    if not callable(made):
        raise InvalidArgumentError(f"criterion must be a name, a class or a loss, got {made!r}")
    _check_takes_pair(made)
    if isinstance(made, nn.Module) and any(weight.requires_grad for weight in made.parameters()):
        logger.warning("criterion %s has weights of its own; they stay as they are", criterion_name(made))
    if isinstance(getattr(made, "reduction", None), str):
        made.reduction = "none"
    return GivenLoss(made)


def _check_takes_pair(criterion: Any) -> None:
    call = criterion.forward if isinstance(criterion, nn.Module) else criterion
    try:
        inspect.signature(call).bind(None, None)
    except TypeError as error:
        name = criterion_name(criterion)
        raise InvalidArgumentError(f"criterion {name} cannot be called with output and target: {error}") from error
    except ValueError:  # functions of compiled libraries may tell nobody what they take
        return


def takes_positive_weight(criterion: Any) -> bool:
    """Tell whether a criterion that was given is a class that takes ``pos_weight``, for each voxel.

    Examples
    --------
    >>> import torch
    >>> takes_positive_weight(torch.nn.BCEWithLogitsLoss), takes_positive_weight(torch.nn.MSELoss)
    (True, False)
    """
    return _is_class(criterion) and {"pos_weight", "reduction"} <= _parameters(criterion)


def criterion_name(criterion: Any) -> str:
    """Return what a criterion that was given is called.

    Examples
    --------
    >>> import torch
    >>> criterion_name(torch.nn.MSELoss), criterion_name(torch.nn.MSELoss())
    ('MSELoss', 'MSELoss')
    """
    inner = criterion.func if isinstance(criterion, functools.partial) else criterion
    return str(getattr(inner, "__name__", type(inner).__name__))


def _call(criterion: Any, arguments: Mapping[str, Any]) -> Any:
    try:
        return criterion(**_separate(criterion, arguments))
    except TypeError as error:
        raise InvalidArgumentError(
            f"criterion {criterion_name(criterion)} does not take its arguments: {error}"
        ) from error


def _separate(criterion: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add that values are wanted one by one, where a criterion can be told."""
    return {**arguments, "reduction": "none"} if "reduction" in _parameters(criterion) else dict(arguments)


def _is_class(criterion: Any) -> bool:
    return isinstance(criterion.func if isinstance(criterion, functools.partial) else criterion, type)


def _parameters(criterion: Any) -> set[str]:
    """Return the names of what a class or function takes; empty where that cannot be told."""
    try:
        return set(inspect.signature(criterion).parameters)
    except (TypeError, ValueError):
        return set()
