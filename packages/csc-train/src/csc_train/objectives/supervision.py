"""Deep supervision: a network's coarser outputs are compared with the target on their own grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from csc_data.errors import InvalidArgumentError


def level_shares(count: int) -> list[float]:
    """Return how much each output counts, largest first: each half as much as the one before, 1 in all.

    >>> level_shares(2)
    [0.6666666666666666, 0.3333333333333333]
    """
    total = sum(0.5**level for level in range(count))
    return [0.5**level / total for level in range(count)]


def nearest_voxels(target: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return a target (B, C, [z,] y, x) on a coarser grid: of each voxel's centre the voxel that it lies in.

    What is unknown there stays unknown. A centre between two voxels takes the later one.

    Raises
    ------
    InvalidArgumentError
        If the grid is not a coarser one.

    Examples
    --------
    >>> import torch
    >>> nearest_voxels(torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]]), (1, 2)).tolist()
    [[[[1.0, 3.0]]]]
    """
    found = tuple(target.shape[2:])
    if len(sizes) != len(found) or any(not 0 < want <= have for have, want in zip(found, sizes, strict=True)):
        raise InvalidArgumentError(
            f"the network gives a list with {tuple(sizes)} voxels where targets have {found}; a list is deep "
            "supervision, the largest first"
        )
    for axis, (have, want) in enumerate(zip(found, sizes, strict=True), start=2):
        if want < have:
            steps = torch.arange(want, device=target.device)
            target = target.index_select(axis, (2 * steps + 1) * have // (2 * want))
    return target
