from __future__ import annotations

import pytest

from csc_data.challenge.training_crops import CropPlace, read_crop_manifest, split_url
from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError

HEADER = "crop_name, dataset, alignment, crop_url, em_url\n"
ROW = "234,jrc_x,recon-1,s3://labels/jrc_x/gt.zarr/crop234,s3://raws/jrc_x/jrc_x.zarr/recon-1/em/fibsem-uint8\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "manifest.csv"


def test_the_organisers_form_is_read(file):
    file.write_text(HEADER + ROW)
    assert read_crop_manifest(file) == {
        234: CropPlace(
            id=234,
            dataset="jrc_x",
            labels="s3://labels/jrc_x/gt.zarr/crop234",
            raw="s3://raws/jrc_x/jrc_x.zarr/recon-1/em/fibsem-uint8",
        )
    }
    file.write_text(HEADER.replace(", ", ",") + ROW.replace("234,", "crop234,"))
    assert list(read_crop_manifest(file)) == [234]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW.replace("234,jrc", "abc,jrc"), "no number"),
        (ROW.replace("234,jrc_x", "234,../x"), "no name of a folder"),
        (ROW.replace("s3://labels", "https://labels"), "s3://bucket/folder"),
        (ROW.replace("gt.zarr", ".."), "s3://bucket/folder"),
        ("234,jrc_x\n", "row 2"),
        (ROW + ROW, "twice"),
    ],
)
def test_rows_that_cannot_be_understood_are_named(file, row, words):
    file.write_text(HEADER + row)
    with pytest.raises(ProblemsError, match=words):
        read_crop_manifest(file)


def test_lists_that_are_none_are_errors(file):
    with pytest.raises(MissingDataError):
        read_crop_manifest(file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ProblemsError, match="lacks crop_name, dataset"):
        read_crop_manifest(file)
    file.write_text(HEADER)
    with pytest.raises(ProblemsError, match="lists no crops"):
        read_crop_manifest(file)


@pytest.mark.parametrize("url", ["s3://b", "s3://b/", "s3://b/../x", "s3:///x", "b/x", "s3://B/x", "s3://bb//x"])
def test_what_is_no_place_in_a_bucket_is_refused(url):
    with pytest.raises(InvalidArgumentError, match="s3://bucket/folder"):
        split_url(url)
