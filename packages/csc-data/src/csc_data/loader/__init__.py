"""Training batches from annotated crops: raw and targets of one patch, read at the same positions in nm.

`get_dataloader` makes the batches that a training loop takes; the parts below it (crops with what is known in them,
the rule that scales raw, patches and how they are turned) are used by prediction as well. Needs the extra
``csc-data[torch]``; torch is imported when a loader is made, not before.
"""

from csc_data.loader import needed_packages as needed_packages  # the first of all
from csc_data.loader.batches import PatchLoader
from csc_data.loader.compiling import compile_all
from csc_data.loader.dataloader import Dataloaders, get_dataloader
from csc_data.loader.intensity import IntensityTransforms
from csc_data.loader.packed import unpack_batch
from csc_data.loader.patches.training import TrainingPatches
from csc_data.loader.patches.validation import ValidationPatches
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.placement import PatchShape
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.loader.sampling.counts import ClassCounts, count_classes
from csc_data.loader.sources.holding.regions import RegionCache
from csc_data.loader.sources.raw import reaches_beyond, scale_raw
from csc_data.loader.sources.raw_source import RawSource
from csc_data.splits.annotations import AnnotatedCrop, open_crop
from csc_data.volumes.annotation_values import ABSENT, PRESENT, UNKNOWN

__all__ = [
    "ABSENT",
    "PRESENT",
    "UNKNOWN",
    "AnnotatedCrop",
    "ArrayInfo",
    "ClassCounts",
    "Dataloaders",
    "IntensityTransforms",
    "PatchLoader",
    "PatchShape",
    "RawSource",
    "RegionCache",
    "SpatialTransforms",
    "TrainingPatches",
    "ValidationPatches",
    "compile_all",
    "count_classes",
    "get_dataloader",
    "open_crop",
    "reaches_beyond",
    "scale_raw",
    "unpack_batch",
]
