"""What every loss gives: a sum over what is known, and by how much a total of such sums has to be divided."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from csc_data.errors import InvalidArgumentError


class Loss(nn.Module, abc.ABC):
    """A loss over what is known.

    What a network says where the target is NaN changes neither its value nor a gradient, not even as NaN or infinity.
    """

    per_voxel: bool
    """Whether `weight` counts voxels; a coarser output has fewer, of which each stands for several."""

    @abc.abstractmethod
    def weight(self, target: Tensor) -> Tensor:
        """Return by how much a total has to be divided, from a target (B, C, [z,] y, x): 0-dimensional, no gradient."""

    @abc.abstractmethod
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum of an output and a target, both (B, C, [z,] y, x): 0-dimensional, 0 where nothing is known."""


class VoxelLoss(Loss):
    """A sum over known voxels, to be divided by their number."""

    per_voxel = True

    def weight(self, target: Tensor) -> Tensor:
        """Count the known voxels of all channels."""
        return (~torch.isnan(target)).sum().to(exact_dtype(target.device))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum over known voxels."""
        known = ~torch.isnan(target)
        # Before anything is computed: a gradient of 0 times infinity would be NaN.
        values = self.values(torch.where(known, output, 0.0), torch.where(known, target, 0.0))
        return torch.where(known, values, 0.0).sum()

    @abc.abstractmethod
    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each voxel, of the shape of both; they are 0 where unknown."""


class PairLoss(Loss):
    """A sum over the pairs of sample and class with any known voxel, to be divided by their number."""

    per_voxel = False

    def weight(self, target: Tensor) -> Tensor:
        """Count the pairs of sample and class with any known voxel."""
        return known_pairs(target).sum().to(exact_dtype(target.device))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the sum over pairs."""
        known = ~torch.isnan(target)
        return self.values(torch.where(known, output, 0.0), torch.where(known, target, 0.0), known).sum()

    @abc.abstractmethod
    def values(self, output: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the loss of each pair, shape (B, C), and 0 for those without known voxels.

        Output and target are 0 where unknown.
        """


def known_pairs(target: Tensor) -> Tensor:
    """Tell for each sample and class whether any voxel is known; shape (B, C).

    Examples
    --------
    >>> import torch
    >>> nan = float("nan")
    >>> known_pairs(torch.tensor([[[[0.0, nan]], [[nan, nan]]]])).tolist()
    [[True, False]]
    """
    return (~torch.isnan(target)).flatten(2).any(2)


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return the type to count and add up in: float64, but where a device has none.

    Examples
    --------
    >>> import torch
    >>> exact_dtype(torch.device("cpu"))
    torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Return a value of each channel (C,) in a form that multiplies (B, C, [z,] y, x).

    Examples
    --------
    >>> import torch
    >>> tuple(per_channel(torch.tensor([1.0, 2.0]), torch.zeros(1, 2, 4, 4, 4)).shape)
    (1, 2, 1, 1, 1)
    """
    return values.to(like.dtype).view(1, -1, *(1,) * (like.ndim - 2))


def above_zero(name: str, value: float) -> float:
    """Return an argument that must be above 0.

    Raises
    ------
    InvalidArgumentError
        If it is not.

    Examples
    --------
    >>> above_zero("gamma", 2.0)
    2.0
    >>> above_zero("gamma", 0.0)
    Traceback (most recent call last):
        ...
    csc_data.errors.InvalidArgumentError: gamma must be above 0, got 0.0
    """
    if not value > 0:
        raise InvalidArgumentError(f"{name} must be above 0, got {value}")
    return value
