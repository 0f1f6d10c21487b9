"""Affinities: whether two voxels belong to the same object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from csc_data.config.settings import Given, not_empty, setting, settings
from csc_data.geometry import Shape
from csc_data.loader.targets.kind import Ids, Target, TargetKind, object_labels
from csc_data.volumes.affinities import NEAREST_NEIGHBOURS, Offset, affinity_name, offset_problems
from csc_data.volumes.annotation_values import Codes


@settings
class AffinityTarget(TargetKind):
    """1 where a voxel and the one at an offset belong to the same object, 0 where not, NaN where one is unknown.

    Both must be present: two absent voxels are 0. One channel per class and offset, all offsets of a class together.
    Long offsets beside the nearest neighbours are those of Lee et al. (2017), https://arxiv.org/abs/1706.00120.
    """

    kind: ClassVar[str] = "affinities"
    needs_ids: ClassVar[bool] = True

    offsets: Given[tuple[Offset, ...], Sequence[Sequence[int]]] = setting(
        "from a voxel to its partner, in voxels, z, y, x", not_empty, offset_problems, default=NEAREST_NEIGHBOURS
    )

    def margin(self, voxel_size: Sequence[float]) -> Shape:
        """Return how many voxels beyond the target it depends on: the longest offset along each axis."""
        z, y, x = (max(abs(offset[axis]) for offset in self.offsets) for axis in range(3))
        return z, y, x

    def channel_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the channels, such as ``mito_affinity_-1_0_0``."""
        return tuple(affinity_name(name, offset) for name in classes for offset in self.offsets)

    def _fill(self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], out: Target) -> None:
        from csc_data.loader.targets.compiled import affinities

        begin = self.margin(voxel_size)
        count = len(self.offsets)
        for channel, own in enumerate(codes):
            labels, unknown = object_labels(own, None if ids is None else ids[channel])
            for i, offset in enumerate(self.offsets):
                affinities(labels, unknown, begin, offset, out[channel * count + i])
