"""Masking: which voxels of raw a network does not see, and what it has to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from csc_data.loader import ArrayInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Blocks that divide a patch, some of them masked.

    Attributes
    ----------
    array : ArrayInfo
        The patch's voxels.
    numbers : tuple of Tensor
        For each axis of the patch, int64, the number of the block of each voxel along it.
    masked : Tensor
        bool, one element a block: whether it is masked.

    Examples
    --------
    >>> import torch
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> array = ArrayInfo(shape=(1, 32, 32), scale=(8, 8, 8))
    >>> blocks = draw_blocks(array, 64.0, share=1.0, generator=torch.Generator().manual_seed(0))
    >>> bool(blocks.mask_on(ArrayInfo(shape=(1, 16, 16), scale=(8, 8, 8))).all())
    True
    >>> bool(blocks.varied(torch.zeros(32, 32)).any())  # flat grey can be told by nobody
    False
    """

    array: ArrayInfo
    numbers: tuple[Tensor, ...]
    masked: Tensor

    @property
    def mask(self) -> Tensor:
        """Which voxels are masked: bool, of the patch's shape without the z axis where that is flat."""
        return _spread(self.masked, self.numbers)

    def mask_on(self, other: ArrayInfo) -> Tensor:
        """Return the mask of another array around the same centre; nothing is masked beyond the blocks."""
        mask = self.mask
        for axis, (index, inside) in enumerate(_positions(self.array, other)):
            mask = mask.index_select(axis, index) & inside.view(-1, *(1,) * (mask.ndim - axis - 1))
        return mask

    def varied(self, values: Tensor) -> Tensor:
        """Tell for each voxel of the patch whether raw is not the same in all of its block.

        Parameters
        ----------
        values : Tensor
            Raw, of the patch's shape.
        """
        sizes = self.masked.shape
        numbers = torch.zeros((), dtype=torch.int64)
        for axis, along in enumerate(self.numbers):
            numbers = numbers.unsqueeze(-1) * sizes[axis] + along
        flat, found = numbers.flatten().to(values.device), values.flatten()
        least = found.new_full((self.masked.numel(),), torch.inf).scatter_reduce(0, flat, found, "amin")
        most = found.new_full((self.masked.numel(),), -torch.inf).scatter_reduce(0, flat, found, "amax")
        return (most > least)[flat].view(values.shape)


def draw_blocks(array: ArrayInfo, size_nm: float, share: float, generator: torch.Generator) -> Blocks:
    """Divide a patch into blocks from a random place on, and choose some of them.

    Parameters
    ----------
    array : ArrayInfo
        The patch's voxels.
    size_nm : float
        Edge of a block, rounded to whole voxels, at least one.
    share : float
        Share of the blocks that are masked.
    generator : torch.Generator
        Of the CPU.

    Examples
    --------
    >>> import torch
    >>> from csc_data.loader.poses.array_info import ArrayInfo
    >>> array = ArrayInfo(shape=(1, 32, 32), scale=(8, 8, 8))
    >>> blocks = draw_blocks(array, 64.0, share=0.5, generator=torch.Generator().manual_seed(0))
    >>> tuple(blocks.mask.shape), 0 < blocks.mask.float().mean().item() < 1
    ((32, 32), True)
    """
    first = 1 if array.flat else 0
    numbers, counts = [], []
    for voxels, scale in zip(array.shape[first:], array.scale[first:], strict=True):
        edge = max(1, round(size_nm / scale))
        begin = int(torch.randint(edge, (), generator=generator))
        numbers.append((torch.arange(voxels) + begin) // edge)
        counts.append(int(numbers[-1][-1]) + 1)
    return Blocks(array=array, numbers=tuple(numbers), masked=torch.rand(tuple(counts), generator=generator) < share)


def _spread(values: Tensor, numbers: Sequence[Tensor]) -> Tensor:
    for axis, along in enumerate(numbers):
        values = values.index_select(axis, along)
    return values


def _positions(one: ArrayInfo, other: ArrayInfo) -> list[tuple[Tensor, Tensor]]:
    """Return for each axis of an array which voxel of another one with the same centre it lies in, and if in any."""
    first = 1 if one.flat else 0
    found = []
    for axis in range(first, 3):
        centres = torch.arange(other.shape[axis], dtype=torch.float64) + 0.5 - other.shape[axis] / 2
        index = torch.floor(centres * other.scale[axis] / one.scale[axis] + one.shape[axis] / 2 + 1e-9).long()
        inside = (index >= 0) & (index < one.shape[axis])
        found.append((index.clamp(0, one.shape[axis] - 1), inside))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """What is hidden of each sample, and what is asked for.

    Attributes
    ----------
    size_nm, share : float
        As for `draw_blocks`.
    array, target : ArrayInfo
        What a network takes, and gives.
    """

    size_nm: float
    share: float
    array: ArrayInfo
    target: ArrayInfo

    def apply(self, raw: Tensor, around: Tensor, known: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mask a sample.

        Parameters
        ----------
        raw, around : Tensor
            What the network would see, shape ``array.shape``, and raw where its output lies, ``target.shape``; both
            without a flat z axis.
        known : Tensor
            Bool, shape ``target.shape``: where raw is stored and not mirrored.
        generator : torch.Generator

        Returns
        -------
        tuple of Tensor
            Raw with its masked voxels at the mean of the others; and what they are, as deviations from that mean in
            standard deviations of what is seen. It is NaN where nothing was masked, where raw is not known, and in
            blocks of one grey value: empty borders say nothing.
        """
        blocks = draw_blocks(self.array, self.size_nm, self.share, generator)
        mask = blocks.mask.to(raw.device)
        seen = raw[~mask]
        mean, deviation = (seen.mean(), seen.std()) if seen.numel() > 1 else (raw.mean(), raw.std())
        asked = mask & blocks.varied(raw)
        if self.target != self.array:
            where = Blocks(array=self.array, numbers=(), masked=asked.cpu())
            asked = where.mask_on(self.target).to(raw.device)
        wanted = (around - mean) / deviation.clamp_min(_LEAST)
        return torch.where(mask, mean, raw), torch.where(asked & known, wanted, torch.nan)


_LEAST = 1e-6
