"""What a network takes or gives: how many voxels, of which size."""

from __future__ import annotations

from collections.abc import Sequence

from csc_data.config.settings import COUNT, POSITIVE, Given, setting, settings
from csc_data.geometry import Shape, Triple


@settings
class ArrayInfo:
    """Shape and voxel size of a patch.

    Examples
    --------
    >>> ArrayInfo(shape=[64, 64, 64], scale=[8, 8, 8]).extent
    (512.0, 512.0, 512.0)
    """

    shape: Given[Shape, Sequence[int]] = setting("voxels of a patch, z, y, x; (1, y, x) is a flat one", COUNT)
    scale: Given[Triple, Sequence[float]] = setting("voxel size in nm, z, y, x", POSITIVE)

    @property
    def extent(self) -> Triple:
        """Edge lengths in nm."""
        z, y, x = (n * v for n, v in zip(self.shape, self.scale, strict=True))
        return z, y, x

    @property
    def flat(self) -> bool:
        """Whether it is a single plane, for networks with two spatial axes."""
        return self.shape[0] == 1

    def to_plain(self) -> dict[str, list[int] | list[float]]:
        """Return it as a mapping of lists, for a checkpoint.

        Examples
        --------
        >>> ArrayInfo(shape=(1, 128, 128), scale=(8, 8, 8)).to_plain()
        {'shape': [1, 128, 128], 'scale': [8.0, 8.0, 8.0]}
        """
        return {"shape": list(self.shape), "scale": list(self.scale)}
