from __future__ import annotations

import pytest

from csc_data.challenge import TrainingCrop, get_tested_classes, get_training_crops, training_crops_by_id
from csc_data.challenge.listed_crops import read_listed_crops
from csc_data.errors import ProblemsError
from csc_data.geometry import Grid

OFFICIAL = """crop_name,dataset,class_label,voxel_size,translation,shape
57,jrc_hela-2,echrom,[2.62;2.0;2.0],[12186.93;3363.0;1583.0],[400;400;400]
57,jrc_hela-2,mito_ribo,[2.62;2.0;2.0],[12186.93;3363.0;1583.0],[400;400;400]
423,jrc_mus-heart-1,nuc,[32.0;32.0;32.0],[57900.0;67372.0;62092.0],[400;400;400]
"""
"""Rows as they stand in the organisers' train_crop_manifest.csv."""


def test_the_table_has_all_crops_and_classes_that_the_organisers_list():
    crops = training_crops_by_id()
    assert len(crops) == 289
    assert sum(len(crop.classes) for crop in crops.values()) == 11_786
    assert {name for crop in crops.values() for name in crop.classes} == set(get_tested_classes())
    assert sum(map(len, get_training_crops().values())) == 289
    crop = crops[57]
    assert (crop.dataset, crop.name, len(crop.classes)) == ("jrc_hela-2", "crop57", 48)
    assert crop.grid == Grid(voxel_size=(2.62, 2, 2), translation=(12186.93, 3363, 1583), shape=(400, 400, 400))


def test_the_organisers_form_is_read_and_classes_of_a_crop_come_together(tmp_path):
    file = tmp_path / "train_crop_manifest.csv"
    file.write_text(OFFICIAL)
    crops = read_listed_crops(file, TrainingCrop)
    assert {number: crop.classes for number, crop in crops.items()} == {57: ("echrom", "mito_ribo"), 423: ("nuc",)}
    assert crops[57].grid == training_crops_by_id()[57].grid
    file.write_text(OFFICIAL.replace("mito_ribo,[2.62", "mito_ribo,[5.24"))
    with pytest.raises(ProblemsError, match="row 3: crop57 has another grid above"):
        read_listed_crops(file, TrainingCrop)
