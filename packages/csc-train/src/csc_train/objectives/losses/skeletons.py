"""clDice: whether tubes are whole, by skeletons that have a gradient.

Source: Shit et al., clDice - a novel topology-preserving loss function for tubular structure segmentation, 2021,
https://arxiv.org/abs/2003.07311
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from csc_data.errors import InvalidArgumentError
from csc_train.objectives.losses.loss import PairLoss, above_zero


class CenterlineDice(PairLoss):
    """1 - clDice: the share of the prediction's skeleton within the truth, and of the truth's within the prediction.

    Their harmonic mean. What is unknown is like the world beyond the patch: no tube ends there, and none goes on.
    It says little about how thick a tube is, so it is used together with another loss: ``["dice", "cldice"]``.

    Parameters
    ----------
    iterations : int
        Voxels that are taken off each side of a tube: at least half the thickness of the thickest one.
    smooth : float
        Voxels added to both sides of the shares.

    Raises
    ------
    InvalidArgumentError
        If iterations are not a whole number from 1, or `smooth` is 0.
    """

    def __init__(self, iterations: int = 5, smooth: float = 1.0) -> None:
        super().__init__()
        if not isinstance(iterations, int) or iterations < 1:
            raise InvalidArgumentError(f"iterations must be a whole number from 1, got {iterations}")
        self.iterations, self.smooth = iterations, above_zero("smooth", smooth)

    def values(self, output: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the loss of each pair."""
        probability = torch.sigmoid(output) * known
        truth = target.to(probability.dtype)
        with torch.no_grad():
            true_skeleton = soft_skeleton(truth, known, self.iterations)
        precision = self._share(soft_skeleton(probability, known, self.iterations), truth)
        sensitivity = self._share(true_skeleton, probability)
        return 1 - 2 * precision * sensitivity / (precision + sensitivity)

    def _share(self, skeleton: Tensor, whole: Tensor) -> Tensor:
        """Return how much of a skeleton lies within a whole, for each pair."""
        inside = (skeleton * whole).flatten(2).sum(2)
        return (inside + self.smooth) / (skeleton.flatten(2).sum(2) + self.smooth)


def soft_skeleton(values: Tensor, known: Tensor, iterations: int) -> Tensor:
    """Return what openings take away, after each of several erosions.

    Parameters
    ----------
    values, known : Tensor
        Shape (B, C, [z,] y, x): from 0 to 1, and whether a voxel is known.
    iterations : int
        How many erosions.

    Returns
    -------
    Tensor
        From 0 to 1; 0 where unknown.

    Examples
    --------
    >>> import torch
    >>> bar = torch.zeros(1, 1, 5, 9)
    >>> bar[..., 1:4, 1:8] = 1
    >>> soft_skeleton(bar, torch.ones_like(bar, dtype=torch.bool), iterations=2)[0, 0].sum(1).int().tolist()
    [0, 0, 5, 0, 0]
    """
    skeleton = torch.zeros_like(values)
    for step in range(iterations + 1):
        eroded = _erode(values, known)
        ridge = functional.relu(values - _dilate(eroded, known)) * known
        skeleton = ridge if step == 0 else skeleton + functional.relu(ridge - skeleton * ridge)
        values = eroded
    return skeleton


def _erode(values: Tensor, known: Tensor) -> Tensor:
    """Take the smallest of a voxel and those that share a face with it; unknown ones do not count."""
    negative = torch.where(known, -values, -1.0)
    smallest = [-_largest(negative, axis) for axis in range(2, values.ndim)]
    return torch.stack(smallest).amin(0) * known


def _dilate(values: Tensor, known: Tensor) -> Tensor:
    """Take the largest of a voxel and all around it; unknown ones are 0."""
    for axis in range(2, values.ndim):
        values = _largest(values, axis)
    return values * known


def _largest(values: Tensor, axis: int) -> Tensor:
    """Take the largest of three voxels along an axis; there are none beyond the ends."""
    spatial = values.ndim - 2
    kernel = [3 if number == axis - 2 else 1 for number in range(spatial)]
    pool = functional.max_pool3d if spatial == 3 else functional.max_pool2d
    return pool(values, kernel, stride=1, padding=[size // 2 for size in kernel])
