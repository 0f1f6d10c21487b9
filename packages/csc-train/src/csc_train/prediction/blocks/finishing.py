"""From blended values to what is written: averaged over the voxels of another grid if asked, in the stored type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csc_data.blocks import Block
from csc_data.geometry import TOLERANCE, Grid
from csc_data.loader.poses.placement import Position

_TYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredForm:
    """The form in which values are stored.

    Attributes
    ----------
    dtype : {"uint8", "float16", "float32"}
        In uint8, 255 stands for the probability 1.
    thresholds : tuple of float, or None
        For each class the probability above which a mask is 1; None where values are stored.

    Examples
    --------
    >>> import torch
    >>> StoredForm(dtype="uint8").store(torch.tensor([[[[0.0, 0.2, 1.0]]]])).flatten().tolist()
    [0, 51, 255]
    >>> StoredForm(dtype="uint8", thresholds=(0.5,)).store(torch.tensor([[[[0.4, 0.6]]]])).flatten().tolist()
    [0, 1]
    """

    dtype: str
    thresholds: tuple[float, ...] | None = None

    def store(self, values: Tensor) -> Tensor:
        """Return values (C, z, y, x) as they are stored; what was given is overwritten."""
        if self.thresholds is not None:
            limits = torch.tensor(self.thresholds, device=values.device).view(-1, 1, 1, 1)
            return (values > limits).to(_TYPES[self.dtype])
        if self.dtype == "uint8":
            return values.mul_(255).round_().to(torch.uint8)
        # A copy, as the planes that are finished make room for the next ones.
        return values.to(_TYPES[self.dtype], copy=True, memory_format=torch.contiguous_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisShares:
    """Which voxels of one grid lie in each voxel of another, along one axis, and with how much of them.

    Attributes
    ----------
    first : ndarray of int64
        Shape (n,): the first voxel that lies in each.
    shares : ndarray of float32
        Shape (n, k): of the first and those after it; they add up to 1.

    Examples
    --------
    >>> import torch
    >>> fine = Grid(voxel_size=(4, 4, 4), translation=(2, 2, 2), shape=(4, 4, 4))
    >>> coarse = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2, 2, 2))
    >>> axis_shares(fine, coarse, axis=0, begin=0, end=2).average(torch.tensor([0.0, 2.0, 4.0, 8.0]), axis=0).tolist()
    [1.0, 6.0]
    """

    first: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]

    @property
    def begin(self) -> int:
        """The first voxel that is needed."""
        return int(self.first.min())

    @property
    def end(self) -> int:
        """One after the last voxel that is needed."""
        return int((self.first + (self.shares > 0).sum(axis=1)).max())

    @property
    def plain(self) -> bool:
        """Whether each voxel is one of the other grid, in their order."""
        return self.shares.shape[1] == 1 and bool(np.all(np.diff(self.first) == 1))

    def average(self, values: Tensor, axis: int) -> Tensor:
        """Average along an axis that holds the voxels from `begin` to `end`."""
        if self.plain:
            return values
        total: Tensor | None = None
        for number in range(self.shares.shape[1]):
            index = np.minimum(self.first + number, self.end - 1) - self.begin
            share = torch.from_numpy(self.shares[:, number]).to(values.device)
            part = values.index_select(axis, torch.from_numpy(index).to(values.device))
            part = part.mul_(share.view([-1 if a == axis else 1 for a in range(values.ndim)]))
            total = part if total is None else total.add_(part)
        assert total is not None
        return total


def axis_shares(source: Grid, target: Grid, axis: int, begin: int, end: int) -> AxisShares:
    """Return the shares for some voxels of a target grid, which depend on nothing but where both grids lie.

    A voxel that reaches beyond the source is the mean of what there is of it; beyond it the nearest holds.

    Examples
    --------
    >>> fine = Grid(voxel_size=(4, 4, 4), translation=(2, 2, 2), shape=(4, 4, 4))
    >>> coarse = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(2, 2, 2))
    >>> found = axis_shares(fine, coarse, axis=0, begin=0, end=2)
    >>> found.first.tolist(), found.shares.tolist()
    ([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    """
    size, low = source.voxel_size[axis], source.bounds.begin[axis]
    faces = target.bounds.begin[axis] + np.arange(begin, end + 1) * target.voxel_size[axis]
    at = (np.round(faces, 6) - low) / size
    whole = np.rint(at)
    at = np.clip(np.where(np.abs(at - whole) < TOLERANCE, whole, at), 0, source.shape[axis])
    lower, upper = at[:-1], at[1:]
    first = np.minimum(np.floor(lower), source.shape[axis] - 1).astype(np.int64)
    count = max(1, int((np.ceil(upper) - first).max(initial=1)))
    voxels = first[:, np.newaxis] + np.arange(count)
    shares = np.clip(np.minimum(upper[:, np.newaxis], voxels + 1) - np.maximum(lower[:, np.newaxis], voxels), 0, None)
    shares[shares.sum(axis=1) == 0, 0] = 1
    shares /= shares.sum(axis=1, keepdims=True)
    return AxisShares(first=first, shares=shares.astype(np.float32))


class Averaging:
    """Averages planes of one grid, as they come along z, over the voxels of a block of another.

    Parameters
    ----------
    source, target : Grid
        What is averaged, and over whose voxels.
    block : Block
        Of the target.
    """

    def __init__(self, source: Grid, target: Grid, block: Block) -> None:
        self._z, self._y, self._x = (
            axis_shares(source, target, axis, b, b + n)
            for axis, (b, n) in enumerate(zip(block.begin, block.shape, strict=True))
        )
        axes = self._z, self._y, self._x
        self.begin: Position = (axes[0].begin, axes[1].begin, axes[2].begin)
        """The box of the source that is needed."""
        self.end: Position = (axes[0].end, axes[1].end, axes[2].end)
        self._sums: dict[int, Tensor] = {}

    def take(self, z: int, planes: Tensor) -> Iterator[Tensor]:
        """Take up the planes (C, n, y, x) of that box from z on; yield those of the target that are finished."""
        averaged = self._x.average(self._y.average(planes, 2), 3)
        if self._z.plain:
            yield averaged
            return
        last = self._z.first + (self._z.shares > 0).sum(axis=1) - 1
        for number in range(averaged.shape[1]):
            at = z + number
            for target in np.flatnonzero((self._z.first <= at) & (at <= last)):
                share = float(self._z.shares[target, at - self._z.first[target]])
                part = averaged[:, number : number + 1] * share
                held = self._sums.get(int(target))
                self._sums[int(target)] = part if held is None else held.add_(part)
                if at == last[target]:
                    yield self._sums.pop(int(target))
