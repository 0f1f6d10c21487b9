from __future__ import annotations

import pytest

from csc_data.challenge.annotated_crops import CropPlace, get_crop_places, read_crop_places, split_url
from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError

HEADER = "crop_number,collection,alignment,crop_url,em_url\r\n"
OLD_HEADER = "crop_name, dataset, alignment, crop_url, em_url\n"
BUCKET = "s3://janelia-cosem-datasets"
COS7 = f"{BUCKET}/jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1"
ROWS = (
    f"234,jrc_cos7-1a,recon-1,{COS7}/labels/groundtruth/crop234,{COS7}/em/fibsem-uint8\r\n"
    f"236,jrc_cos7-1a,recon-1,{COS7}/labels/groundtruth/crop236,{COS7}/em/fibsem-uint8\r\n"
)
"""As they stand in the organisers' file of 2026-06-30."""

ROW = "234,jrc_x,recon-1,s3://labels/jrc_x/gt.zarr/crop234,s3://raws/jrc_x/jrc_x.zarr/recon-1/em/fibsem-uint8\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "manifest.csv"


def test_the_organisers_file_of_today_is_read_and_agrees_with_the_package(file):
    file.write_bytes((HEADER + ROWS).encode())
    assert read_crop_places(file) == {number: get_crop_places()[number] for number in (234, 236)}


@pytest.mark.parametrize(
    "text",
    [
        OLD_HEADER + ROW,
        OLD_HEADER.replace(", ", ",") + ROW.replace("234,", "crop234,", 1),
        HEADER.strip().replace(",", ", ") + "\n" + ROW.replace(",", ", "),
        "\ufeff" + HEADER + ROW + "\n,,,,\n\n",
        OLD_HEADER + ROW.replace("jrc_x,recon-1", ' "jrc_x", recon-1', 1),
        "note," + OLD_HEADER + "new," + ROW,
    ],
)
def test_both_headers_are_read_with_blanks_behind_commas_and_columns_we_do_not_know(file, text):
    file.write_text(text, encoding="utf-8")
    assert read_crop_places(file) == {
        234: CropPlace(
            id=234,
            dataset="jrc_x",
            labels="s3://labels/jrc_x/gt.zarr/crop234",
            raw="s3://raws/jrc_x/jrc_x.zarr/recon-1/em/fibsem-uint8",
        )
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW.replace("234,jrc", "abc,jrc"), "must be like 234 or crop234, got 'abc'"),
        (ROW.replace("234,jrc_x", "234,../x"), "not the name of a folder"),
        (ROW.replace("s3://labels", "https://labels"), "s3://bucket/folder"),
        (ROW.replace("gt.zarr", ".."), "s3://bucket/folder"),
        ("234,jrc_x\n", "row 2: has no alignment, crop_url, em_url"),
        (ROW + "\n" + ROW, "row 4: lists crop234 twice"),
    ],
)
def test_rows_that_cannot_be_understood_are_named(file, row, words):
    file.write_text(OLD_HEADER + row)
    with pytest.raises(ProblemsError, match=words):
        read_crop_places(file)


def test_all_rows_that_are_wrong_are_told_at_once(file):
    file.write_text(HEADER + ROW.replace("234", "x") + ROW + ROW)
    with pytest.raises(ProblemsError) as caught:
        read_crop_places(file)
    assert [problem.where for problem in caught.value.problems] == ["row 2", "row 4"]


def test_lists_that_are_none_are_errors(file):
    for place in (file, file.parent):
        with pytest.raises(MissingDataError):
            read_crop_places(place)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ProblemsError, match="lacks crop_name, dataset"):
        read_crop_places(file)
    file.write_text(HEADER)
    with pytest.raises(ProblemsError, match="lists no crops"):
        read_crop_places(file)
    file.write_bytes(HEADER.encode() + b"\xff\xfe")
    with pytest.raises(ProblemsError, match="not a list in CSV form"):
        read_crop_places(file)
    file.write_text(HEADER + '"' + 200_000 * "x")
    with pytest.raises(ProblemsError, match="not a list in CSV form"):
        read_crop_places(file)


@pytest.mark.parametrize("url", ["s3://b", "s3://b/", "s3://b/../x", "s3:///x", "b/x", "s3://B/x", "s3://bb//x"])
def test_what_is_no_place_in_a_bucket_is_refused(url):
    with pytest.raises(InvalidArgumentError, match="s3://bucket/folder"):
        split_url(url)
