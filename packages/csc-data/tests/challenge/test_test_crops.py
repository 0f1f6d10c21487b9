from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.challenge import TestCrop, UnknownCropError, get_test_crops
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import COLUMNS, FILE_NAME, read_test_crops, select_crops, write_test_crops
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
    write_test_crops(file, given_crops)
    assert read_test_crops(file) == {crop.id: crop for crop in given_crops}


@pytest.mark.parametrize("name", ["557", "crop557", " crop557 "])
@pytest.mark.parametrize("triple", ["[8.0;5.24;5.24]", "8.0;5.24;5.24", '"(8.0, 5.24, 5.24)"'])
def test_the_organisers_form_is_read(tmp_path, name, triple):
    (tmp_path / FILE_NAME).write_text(HEADER + ROW.replace("557", name).replace("[8.0;5.24;5.24]", triple))
    crop = read_test_crops(tmp_path / FILE_NAME)[557]
    assert (crop.dataset, crop.classes) == ("jrc_x", ("mito",))
    assert crop.grid.voxel_size == (8.0, 5.24, 5.24)
    assert crop.grid.translation == (100.5, -3.0, 0.1)
    assert crop.grid.shape == (400, 400, 100)


def test_rows_of_one_crop_are_one_crop_with_several_classes(tmp_path):
    (tmp_path / FILE_NAME).write_text(HEADER + ROW + ROW.replace("mito", "er"))
    assert read_test_crops(tmp_path / FILE_NAME)[557].classes == ("mito", "er")


OFFICIAL = """crop_name,dataset,class_label,voxel_size,translation,shape
557,jrc_ctl-id8-1,perox_mem,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;600]
557,jrc_ctl-id8-1,lyso_lum,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;600]
"""
"""Rows as they stand in the organisers' file of 2026-06-30."""


def test_the_organisers_file_of_today_agrees_with_the_package(tmp_path):
    (tmp_path / FILE_NAME).write_text(OFFICIAL)
    crop = read_test_crops(tmp_path / FILE_NAME)[557]
    assert crop.classes == ("perox_mem", "lyso_lum")
    assert (crop.dataset, crop.grid) == (get_test_crops()[557].dataset, get_test_crops()[557].grid)


def test_the_official_names_hold_a_row_for_each_crop_and_class(tmp_path, monkeypatch):
    from csc_data.challenge import TEST_CROPS, TEST_CROPS_DICT

    assert len(TEST_CROPS) == len(TEST_CROPS_DICT) == 413
    assert {(row.id, row.dataset) for row in TEST_CROPS} == {(c.id, c.dataset) for c in get_test_crops().values()}
    row = TEST_CROPS_DICT[557, "mito"]
    assert (row.class_label, row.voxel_size, row.shape) == ("mito", (1.74, 2.0, 2.0), (600, 600, 600))
    assert row.translation == (23837.13, 7599.0, 35999.0)
    assert row in TEST_CROPS


def test_a_data_folders_own_list_comes_before_the_challenges(tmp_path):
    config = Config(data=str(tmp_path))
    assert load_test_crops(config) == get_test_crops()
    (tmp_path / FILE_NAME).write_text(HEADER + ROW)
    assert list(load_test_crops(config)) == [557]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW.replace("557", "abc"), "must be like 234 or crop234, got 'abc'"),
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
        read_test_crops(tmp_path / FILE_NAME)
    assert words in str(caught.value)


def test_rows_of_one_crop_that_disagree_or_repeat_are_named(tmp_path):
    text = HEADER + ROW + ROW.replace("mito", "er").replace("[400", "[200") + ROW
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ProblemsError) as caught:
        read_test_crops(tmp_path / FILE_NAME)
    assert [problem.where for problem in caught.value.problems] == ["row 3", "row 4"]
    assert "another grid" in str(caught.value)
    assert "twice" in str(caught.value)


def test_lists_that_are_none_are_errors(tmp_path):
    with pytest.raises(MissingDataError):
        read_test_crops(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text("a,b\n1,2\n")
    with pytest.raises(ProblemsError, match="lacks crop_name, dataset, class_label"):
        read_test_crops(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text(HEADER)
    with pytest.raises(ProblemsError, match="lists no crops"):
        read_test_crops(tmp_path / FILE_NAME)


def test_crops_are_chosen_by_id_or_name_in_the_order_asked():
    known = get_test_crops()
    first, second = list(known)[:2]
    assert [crop.id for crop in select_crops(known, [f"crop{second}", str(first)])] == [second, first]
    assert len(select_crops(known, None)) == 16
    for name in ("99999", "cropx", ""):
        with pytest.raises(UnknownCropError, match="is not a test crop here"):
            select_crops(known, [name])
