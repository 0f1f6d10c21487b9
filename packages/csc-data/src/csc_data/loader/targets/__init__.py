"""Kinds of targets: what a network is to say of each voxel, computed from codes and instance ids.

`parse_targets` understands experiment files; every kind is a class by itself. Nothing depends on where a patch ends:
a kind says how many voxels around the patch it needs (`margin`), and what cannot be known from them is NaN.
"""

from csc_data.loader.targets.affinities import AffinityTarget
from csc_data.loader.targets.kind import BinaryTarget, TargetKind
from csc_data.loader.targets.parsing import common_margin, compute_targets, parse_targets
from csc_data.loader.targets.surfaces import BoundaryTarget, SignedDistanceTarget

__all__ = [
    "AffinityTarget",
    "BinaryTarget",
    "BoundaryTarget",
    "SignedDistanceTarget",
    "TargetKind",
    "common_margin",
    "compute_targets",
    "parse_targets",
]
