import pytest

from csc_data.splits.row_selection import select_rows
from csc_data.splits.split_file import SplitRow
from csc_data.splits.splitting import SplitOptions


def row(usage, crop, *classes, dataset="jrc_a"):
    store = f"d/{dataset}.zarr"
    return SplitRow(usage=usage, raw=f"{store}/em", labels=f"{store}/crop{crop}", classes=classes)


ROWS = [row("train", 1, "mito", "er"), row("train", 2, "mito"), row("validate", 3, "er", dataset="jrc_b")]


@pytest.mark.parametrize(
    ("forced", "expected"),
    [
        (False, {"crop1": "train", "crop2": "train", "crop3": "validate"}),
        (True, {"crop1": "train"}),
        ("train", {"crop1": "train", "crop2": "validate", "crop3": "validate"}),
        ("validate", {"crop1": "train", "crop2": "train", "crop3": "train"}),
    ],
)
def test_crops_that_lack_a_class_are_left_out_or_on_the_other_side(forced, expected):
    kept, left_out = select_rows(ROWS, SplitOptions(classes=["mito", "er"], force_all_classes=forced))
    assert {each.crop: each.usage for each in kept} == expected
    told = {problem.where: problem.what for problem in left_out}
    changed = {each.crop for each in ROWS if expected.get(each.crop) != each.usage}
    assert {where.partition("/")[2] for where in told} >= changed
    assert all("lacks" in what for what in told.values())


def test_data_sets_and_crops_are_chosen_by_name():
    kept, left_out = select_rows(ROWS, SplitOptions(datasets=["jrc_a"], crops=["2*"]))
    assert [each.crop for each in kept] == ["crop2"]
    assert [problem.where for problem in left_out] == ["jrc_a/crop1", "jrc_b/crop3"]
