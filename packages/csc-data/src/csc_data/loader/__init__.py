"""Training batches from annotated crops: raw and targets of one patch, read at the same positions in nm.

`get_dataloader` makes the batches that a training loop takes; the parts below it (crops with what is known in them,
the rule that scales raw, patches and how they are turned) are used by prediction as well. Needs the extra
``csc-data[torch]``; torch is imported when a loader is made, not before.
"""

from csc_data.encoding import ABSENT, PRESENT, UNKNOWN
from csc_data.loader.annotations import AnnotatedCrop, open_crop
from csc_data.loader.array_info import ArrayInfo
from csc_data.loader.cache import VolumeCache
from csc_data.loader.counts import ClassCounts, count_classes
from csc_data.loader.dataloader import Dataloaders, get_dataloader
from csc_data.loader.intensity import IntensityTransforms
from csc_data.loader.patch_loader import PatchLoader
from csc_data.loader.placement import PatchShape
from csc_data.loader.raw import read_raw, scale_raw
from csc_data.loader.regions import RegionCache
from csc_data.loader.spatial import SpatialTransforms
from csc_data.loader.training_patches import TrainingPatches
from csc_data.loader.validation_patches import ValidationPatches

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
    "RegionCache",
    "SpatialTransforms",
    "TrainingPatches",
    "ValidationPatches",
    "VolumeCache",
    "count_classes",
    "get_dataloader",
    "open_crop",
    "read_raw",
    "scale_raw",
]
