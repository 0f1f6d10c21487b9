from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.challenge import TestCrop, UnknownCropError, get_test_crops
from csc_data.challenge.test_crops import (
    COLUMNS,
    FILE_NAME,
    crop_grid,
    load_test_crops,
    read_manifest,
    select_crops,
    write_manifest,
)
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, ProblemsError

HEADER = ",".join(COLUMNS) + "\n"
ROW = "557,jrc_x,mito,[8.0;5.24;5.24],[100.5;-3;0.1],[400;400;100]\n"

crops = st.lists(
    st.builds(
        TestCrop,
        id=st.integers(0, 2000),
        dataset=st.sampled_from(["jrc_a", "jrc_b-2"]),
        voxel_size=st.tuples(*[st.floats(0.1, 100)] * 3),
        translation=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
        shape=st.tuples(*[st.integers(1, 1000)] * 3),
        classes=st.lists(st.sampled_from(["mito", "er", "nuc", "pm"]), min_size=1, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda crop: crop.id,
)


@given(crops)
def test_what_is_written_is_read_to_the_last_digit(tmp_path_factory, given_crops):
    file = tmp_path_factory.mktemp("manifest") / FILE_NAME
    write_manifest(file, given_crops)
    assert read_manifest(file) == {crop.id: crop for crop in given_crops}


@pytest.mark.parametrize("name", ["557", "crop557", " crop557 "])
@pytest.mark.parametrize("triple", ["[8.0;5.24;5.24]", "8.0;5.24;5.24", '"(8.0, 5.24, 5.24)"'])
def test_the_organisers_form_is_read(tmp_path, name, triple):
    (tmp_path / FILE_NAME).write_text(HEADER + ROW.replace("557", name).replace("[8.0;5.24;5.24]", triple))
    crop = read_manifest(tmp_path / FILE_NAME)[557]
    assert (crop.dataset, crop.classes) == ("jrc_x", ("mito",))
    assert crop_grid(crop).voxel_size == (8.0, 5.24, 5.24)
    assert crop_grid(crop).translation == (100.5, -3.0, 0.1)
    assert crop_grid(crop).shape == (400, 400, 100)


def test_rows_of_one_crop_are_one_crop_with_several_classes(tmp_path):
    (tmp_path / FILE_NAME).write_text(HEADER + ROW + ROW.replace("mito", "er"))
    assert read_manifest(tmp_path / FILE_NAME)[557].classes == ("mito", "er")


def test_a_data_folders_own_list_comes_before_the_challenges(tmp_path):
    config = Config(data=str(tmp_path))
    assert load_test_crops(config) == get_test_crops()
    (tmp_path / FILE_NAME).write_text(HEADER + ROW)
    assert list(load_test_crops(config)) == [557]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW.replace("557", "abc"), "crop_name 'abc' is no number"),
        (ROW.replace("5.24]", "x]"), "x"),
        (ROW.replace(";5.24]", "]"), "three finite numbers"),
        (ROW.replace("8.0;", "0;"), "above 0 nm"),
        (ROW.replace("[400;", "[400.5;"), "whole numbers"),
        (ROW.replace("[400;", "[-4;"), "whole numbers"),
        ("557,jrc_x\n", "row 2"),
    ],
)
def test_rows_that_cannot_be_understood_are_named(tmp_path, row, words):
    (tmp_path / FILE_NAME).write_text(HEADER + row)
    with pytest.raises(ProblemsError, match="row 2") as caught:
        read_manifest(tmp_path / FILE_NAME)
    assert words in str(caught.value)


def test_rows_of_one_crop_that_disagree_or_repeat_are_named(tmp_path):
    text = HEADER + ROW + ROW.replace("mito", "er").replace("[400", "[200") + ROW
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ProblemsError) as caught:
        read_manifest(tmp_path / FILE_NAME)
    assert [problem.where for problem in caught.value.problems] == ["row 3", "row 4"]
    assert "another grid" in str(caught.value)
    assert "twice" in str(caught.value)


def test_lists_that_are_none_are_errors(tmp_path):
    with pytest.raises(MissingDataError):
        read_manifest(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text("a,b\n1,2\n")
    with pytest.raises(ProblemsError, match="lacks crop_name, dataset, class_label"):
        read_manifest(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text(HEADER)
    with pytest.raises(ProblemsError, match="lists no crops"):
        read_manifest(tmp_path / FILE_NAME)


def test_crops_are_chosen_by_id_or_name_in_the_order_asked():
    known = get_test_crops()
    first, second = list(known)[:2]
    assert [crop.id for crop in select_crops(known, [f"crop{second}", str(first)])] == [second, first]
    assert len(select_crops(known, None)) == 16
    for name in ("99999", "cropx", ""):
        with pytest.raises(UnknownCropError, match="is no test crop here"):
            select_crops(known, [name])
