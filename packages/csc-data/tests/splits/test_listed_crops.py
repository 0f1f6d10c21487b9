"""Splits of the challenge by its list alone: nothing answers at the endpoint that these tests name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csc_data.challenge import get_tested_classes, training_crops_by_id
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.splits.listed_crops import list_crops
from csc_data.splits.search import CropTemplates
from csc_data.splits.splitting import SplitOptions, make_datasplit

BUCKET = CropTemplates.in_bucket(Config(endpoint="http://127.0.0.1:9"))


def test_all_crops_are_split_so_that_each_class_has_both_sides():
    split = make_datasplit(BUCKET, SplitOptions(by_list=True))
    assert len(split.rows) == 289
    assert not split.left_out
    assert set(split.crops) == set(get_tested_classes())
    assert all(min(sides.values()) > 0 for sides in split.crops.values())
    assert sum(sum(sides.values()) for sides in split.crops.values()) == 11_786
    first = split.rows[0]
    place = "s3://janelia-cosem-datasets/jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1"
    assert (first.raw, first.labels) == (f"{place}/em/fibsem-uint8", f"{place}/labels/groundtruth/crop234")


def test_scale_classes_and_names_choose():
    options = SplitOptions(by_list=True, classes=["mito", "nuc"], scale=(8, 8, 8))
    split = make_datasplit(BUCKET, options)
    expected = {
        crop.name: tuple(sorted({"mito", "nuc"} & set(crop.classes)))
        for crop in training_crops_by_id().values()
        if max(crop.voxel_size) <= 8 and {"mito", "nuc"} & set(crop.classes)
    }
    assert {row.crop: row.classes for row in split.rows} == expected
    assert "jrc_mus-heart-1/crop423: has no level as fine as 8 x 8 x 8 nm of nuc" in map(str, split.left_out)
    few = make_datasplit(BUCKET, replace(options, datasets=("jrc_cos7*",), crops=("23*",), scale=None))
    assert [row.crop for row in few.rows] == ["crop234", "crop236", "crop237", "crop239", "crop235", "crop238"]


def test_voxels_are_those_that_are_annotated():
    found, left_out = list_crops(BUCKET, ["er"], crops=["57", "423"])
    assert [(crop.crop, crop.voxels) for crop in found] == [("crop57", {"er": 400**3})]
    assert [problem.where for problem in left_out] == ["jrc_mus-heart-1/crop423"]


def test_what_the_list_does_not_know_is_said(tmp_path):
    with pytest.raises(MissingDataError, match=r"lists no crop 9999 of data set \*"):
        list_crops(BUCKET, crops=["9999"])
    with pytest.raises(InvalidArgumentError, match="not those of"):
        make_datasplit(Config(data=str(tmp_path)), SplitOptions(by_list=True))
