"""Targets that depend on how near the surface of an object is: signed distance, and boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from csc_data.config.settings import POSITIVE, setting, settings
from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Shape
from csc_data.loader.targets.distances import Labels, crop, reach_in_voxels, square_distances
from csc_data.loader.targets.kind import Ids, Target, TargetKind, object_labels
from csc_data.volumes.annotation_values import PRESENT, UNKNOWN, Codes
from csc_data.volumes.channels import boundary_name, distance_name

REACH = 3.0
"""Scales beyond which a signed distance counts as this many: tanh(3) is 0.995."""

_ROUNDING = 1e-6


def _hidden(
    labels: Labels, unknown: int, nearest: Target, voxel_size: Sequence[float], reach_nm: float, in_plane: bool
) -> npt.NDArray[np.bool_] | None:
    """Tell where something unknown is as near as the nearest voxel that differs, if anywhere."""
    if not (labels == unknown).any():
        return None
    to_unknown = square_distances((labels == unknown).view(np.uint8), voxel_size, reach_nm, in_plane=in_plane)
    far = np.float32(reach_nm**2)
    hidden: npt.NDArray[np.bool_] = (to_unknown <= nearest * np.float32(1 + _ROUNDING)) & (to_unknown < far)
    return hidden


@settings
class SignedDistanceTarget(TargetKind):
    """``tanh(d / scale_nm)``, with d the distance in nm from a voxel's centre to the surface: above 0 inside.

    The surface is that of the voxels that are present, so d is half a voxel on either side of a flat one. Distances
    beyond three scales count as three scales (a value of 0.995). Objects of a class are not told apart.

    A value is given only where it is certain: it is NaN in unknown voxels, and where an unknown voxel within three
    scales is as near as the nearest known surface, for the true one might lie there.

    Examples
    --------
    >>> target = SignedDistanceTarget(scale_nm=1, in_plane=True)
    >>> target.margin((8, 8, 1))
    (0, 0, 3)
    >>> target.compute(np.array([[[[0, 0, 0, 0, 1, 1, 1, 1]]]], dtype=np.uint8), None, (8, 8, 1)).round(2)
    array([[[[-0.46,  0.46]]]], dtype=float32)
    """

    kind: ClassVar[str] = "signed_distance"

    scale_nm: float = setting("distance at which the target is 0.76", POSITIVE, default=50.0)
    in_plane: bool = setting(
        "measure within the z plane only: for flat patches, whose network sees no other", default=False
    )

    def margin(self, voxel_size: Sequence[float]) -> Shape:
        """Return how many voxels beyond the target it depends on: three scales."""
        return reach_in_voxels(REACH * self.scale_nm, voxel_size, in_plane=self.in_plane)

    def channel_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the channels, one per class."""
        return tuple(map(distance_name, classes))

    def _fill(self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], out: Target) -> None:
        reach_nm = REACH * self.scale_nm
        inner = crop(codes, self.margin(voxel_size))
        for whole, own, target in zip(codes, inner, out, strict=True):
            if (own == UNKNOWN).all():
                target[...] = np.nan
                continue
            nearest = square_distances(whole, voxel_size, reach_nm, in_plane=self.in_plane)
            hidden = _hidden(whole, UNKNOWN, nearest, voxel_size, reach_nm, self.in_plane)
            np.sqrt(nearest, out=nearest)
            nearest *= np.float32(1 / self.scale_nm)
            np.tanh(nearest, out=nearest)
            np.copysign(nearest, (own == PRESENT) - np.float32(0.5), out=target)
            target[own == UNKNOWN] = np.nan
            if hidden is not None:
                target[hidden] = np.nan


@settings
class BoundaryTarget(TargetKind):
    """1 within a distance of where an object ends, on both sides, 0 elsewhere; one channel per class.

    An object ends where absent voxels begin, or another object of the class. NaN in unknown voxels, and where an
    unknown voxel within the distance is as near as the nearest boundary.
    """

    kind: ClassVar[str] = "boundaries"
    needs_ids: ClassVar[bool] = True

    width_nm: float = setting(
        "distance from a voxel's centre to the boundary up to which it is 1", POSITIVE, default=10.0
    )
    in_plane: bool = setting(
        "look within the z plane only: for flat patches, whose network sees no other", default=False
    )

    @property
    def _reach_nm(self) -> float:
        # A little more, so that a boundary at exactly that distance counts.
        return self.width_nm * (1 + _ROUNDING)

    def margin(self, voxel_size: Sequence[float]) -> Shape:
        """Return how many voxels beyond the target it depends on.

        Raises
        ------
        InvalidArgumentError
            If voxels are so large that no centre lies within the distance of any boundary.
        """
        margin = reach_in_voxels(self._reach_nm, voxel_size, in_plane=self.in_plane)
        if not any(margin):
            sizes = tuple(voxel_size)
            raise InvalidArgumentError(
                f"width_nm of boundaries must be at least half a voxel, got {self.width_nm} for voxels of {sizes} nm"
            )
        return margin

    def channel_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the channels, one per class."""
        return tuple(map(boundary_name, classes))

    def _fill(self, codes: Codes, ids: Ids | None, voxel_size: Sequence[float], out: Target) -> None:
        far = np.float32(self._reach_nm**2)
        inner = crop(codes, self.margin(voxel_size))
        for channel, (own, target) in enumerate(zip(inner, out, strict=True)):
            if (own == UNKNOWN).all():
                target[...] = np.nan
                continue
            labels, unknown = object_labels(codes[channel], None if ids is None else ids[channel])
            nearest = square_distances(labels, voxel_size, self._reach_nm, in_plane=self.in_plane)
            hidden = _hidden(labels, unknown, nearest, voxel_size, self._reach_nm, self.in_plane)
            target[...] = nearest < far
            target[own == UNKNOWN] = np.nan
            if hidden is not None:
                target[hidden] = np.nan
