"""Blending overlapping windows over a box: a weighted mean, kept for as many planes along z as a window has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from csc_data.loader.poses.placement import Position

CACHED_VALUES = 1 << 18
"""Values that a CPU works on at a time, so that they stay in its cache from one step to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the network says in one window.

    Attributes
    ----------
    position : tuple of int
        Where it begins, in voxels of the region.
    values : Tensor
        Shape (K, z, y, x), along the axes of the volume.
    alone : bool
        Whether no other window holds a voxel of it.
    """

    position: Position
    values: Tensor
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How the windows of a box are blended.

    Attributes
    ----------
    begin, end : tuple of int
        The box, in voxels of the region.
    weights : Tensor
        Of a window, shape (z, y, x), on the device where it is done.
    activate : callable
        Turns what the network says, (K, z, y, x), into what is blended, (C, z, y, x) as float32.
    """

    begin: Position
    end: Position
    weights: Tensor
    activate: Callable[[Tensor], Tensor]

    def planes(self, windows: Iterable[Window]) -> Iterator[tuple[int, Tensor]]:
        """Yield the finished planes, along z, as far as windows have gone.

        Each voxel takes up its windows one after the other, in the order of their places and rounded after each step,
        so its value is the same to the bit whatever box it is computed in. A mean that moves by the share of the new
        weight, rather than a sum to be divided, gives back exactly what all windows agree on.

        Parameters
        ----------
        windows : iterable of Window
            All that hold voxels of the box, ordered by z.

        Yields
        ------
        z : int
            The first plane, in voxels of the region.
        planes : Tensor
            Shape (C, n, y, x); overwritten afterwards.
        """
        depth = min(self.weights.shape[0], self.end[0] - self.begin[0])
        place = [depth, *(e - b for b, e in zip(self.begin[1:], self.end[1:], strict=True))]
        total = torch.zeros(place, device=self.weights.device)
        mean = total[:0]  # until the first window tells how many channels there are
        first = self.begin[0]  # the plane of the region that the slab begins with
        for window in windows:
            if not len(mean):
                channels = len(self.activate(window.values[:, :1]))
                mean = torch.zeros((channels, *place), device=self.weights.device)
            done = min(max(window.position[0] - first, 0), depth, self.end[0] - first)
            if done:
                yield first, mean[:, :done]
                _move_up(mean, 1, done)
                _move_up(total, 0, done)
                first += done
            self._take_up(window, mean, total, first)
        yield first, mean[:, : self.end[0] - first]

    def _take_up(self, window: Window, mean: Tensor, total: Tensor, first: int) -> None:
        begin = (first, *self.begin[1:])
        # Where the window and the slab meet, in voxels of the window and of the slab.
        low = [max(b - p, 0) for b, p in zip(begin, window.position, strict=True)]
        high = [min(e - p, n) for e, p, n in zip(self.end, window.position, self.weights.shape, strict=True)]
        shift = [p - b for p, b in zip(window.position, begin, strict=True)]
        y, x = (slice(a, b) for a, b in zip(low[1:], high[1:], strict=True))
        to_y, to_x = (slice(a + s, b + s) for a, b, s in zip(low[1:], high[1:], shift[1:], strict=True))
        depth = self.weights.shape[0]
        step = depth if mean.is_cuda else max(1, CACHED_VALUES // (len(mean) * self.weights[0].numel()))
        # Steps count from the window's first plane: what is computed together is the same for every box.
        for start in range(low[0] // step * step, high[0], step):
            values = self.activate(window.values[:, start : min(start + step, depth)])
            z = slice(max(start, low[0]), min(start + step, high[0]))
            to = slice(z.start + shift[0], z.stop + shift[0]), to_y, to_x
            values = values[:, z.start - start : z.stop - start, y, x]
            before = mean[:, *to]
            if window.alone:
                before.copy_(values)
                continue
            weights = self.weights[z, y, x]
            share = weights / total[to].add_(weights)
            # In steps that each round alike wherever a voxel lies, unlike a fused one.
            before.add_((values - before).mul_(share))


def _move_up(slab: Tensor, axis: int, count: int) -> None:
    """Move the planes after the first ``count`` to the front, and make the rest 0."""
    left = slab.shape[axis] - count
    if left > 0:
        kept = slab.narrow(axis, count, left)
        slab.narrow(axis, 0, left).copy_(kept.clone() if count < left else kept)
    slab.narrow(axis, left, count).zero_()
