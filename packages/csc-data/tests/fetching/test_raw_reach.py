"""Raw around crops as patches need it: with it, turned patches are what they are where all of the raw is there."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.fetching import FetchOptions, fetch_data
from csc_data.splits.split_file import SplitRow

pytest.importorskip("torch")

from csc_data.loader import ArrayInfo, PatchShape, SpatialTransforms, TrainingPatches, ValidationPatches, open_crop
from csc_data.loader.patches.reader import PatchReader
from csc_data.loader.patches.training import Augmentation
from csc_data.loader.poses.reach import PatchReach

RAW = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/em/fibsem-uint8"
LABELS = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/labels/groundtruth/crop2"
CLASS = "mito"
SPATIAL = SpatialTransforms.parse(
    {
        "rotate": True,
        "scale": {axis: [0.8, 1.25] for axis in "zyx"},
        "elastic": {"spacing_nm": 60, "amplitude_nm": 5},
    }
)
SMALL = ArrayInfo(shape=(10, 10, 10), scale=(8, 8, 8))
PATCH = PatchShape(input=SMALL, target=SMALL, further_inputs={"more": ArrayInfo(shape=(8, 8, 8), scale=(16, 16, 16))})


def patches(root):
    row = SplitRow(usage="train", raw=str(root / RAW), labels=str(root / LABELS), classes=(CLASS,))
    reader = PatchReader(crops=(open_crop(row, (CLASS,)),), classes=(CLASS,), patch=PATCH, spatial=SPATIAL)
    return TrainingPatches(reader, Augmentation(spatial=SPATIAL), foreground_share=0.5), ValidationPatches(reader)


def count_differing(root, whole):
    """Count the samples whose raw is not the same."""
    different = 0
    for ours, theirs, count in zip(patches(root), patches(whole), (200, None), strict=True):
        for index in range(count or len(ours)):
            one, other = ours[index], theirs[index]
            different += not all(np.array_equal(one[name], other[name]) for name in ("input", "more"))
    return different


def test_what_any_patch_reads_is_there(bucket, tmp_path, s3_server, options, write_manifest, rechunk):
    own = tmp_path / "s3" / bucket.name
    shutil.copytree(bucket, own)
    rechunk(own / RAW, "/")
    config = Config(data=str(tmp_path / "data"), endpoint=s3_server(tmp_path / "s3").endpoint)
    write_manifest(config.root)
    assert fetch_data(config, options(crops=["2"], classes=[CLASS])).complete
    assert count_differing(config.root, own) > 20
    reach = PatchReach(patch=PATCH, transforms=SPATIAL)
    padded = fetch_data(config, options(crops=["2"], classes=[CLASS], raw_reach=reach))
    assert padded.complete
    assert padded.fetched_files > 0
    assert count_differing(config.root, own) == 0


def test_it_goes_without_a_padding_in_voxels():
    reach = PatchReach(patch=PATCH, transforms=SPATIAL)
    for wrong in ({"raw_padding": 3, "raw_reach": reach}, {"raw_reach": lambda extent: extent}):
        with pytest.raises(InvalidArgumentError, match="raw_reach"):
            FetchOptions(**wrong)
