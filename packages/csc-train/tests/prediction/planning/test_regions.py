import numpy as np
import pytest

from csc_data.challenge import UnknownCropError
from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_data.geometry import Grid, Roi
from csc_data.splits.search import CropTemplates
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_train.prediction.planning.regions import Places, choose_boxes, choose_crops, parse_roi

GRID = Grid(voxel_size=(8, 8, 8), translation=(104, 4, 4), shape=(10, 20, 30))


@pytest.fixture
def places(world):
    world.annotate("crop7", (1, 1, 1), (9, 9, 9), "er", "mito")
    world.annotate("crop8", (1, 1, 1), (9, 9, 9), "er")
    labels = world.config.path("labels", dataset="a", crop="crop8", class_name="x").parent
    rows = [
        SplitRow(usage="validate", raw=str(world.config.path("raw", dataset="a")), labels=str(labels), classes=("er",))
    ]
    write_datasplit(world.config.path("datasplit"), rows)
    return Places(
        config=world.config, templates=CropTemplates.below(world.config), datasplit=world.config.path("datasplit")
    )


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["crop1", "crop2"]),
        (["2", "crop1", "2"], ["crop2", "crop1"]),
        (["test"], ["crop1", "crop2"]),
        (["validation"], ["crop8"]),
        (["annotated"], ["crop7", "crop8"]),
        (["7"], ["crop7"]),
        (["*"], ["crop1", "crop2", "crop7", "crop8"]),
        (["a/crop[28]"], ["crop2", "crop8"]),
        (["a/*", "validation"], ["crop1", "crop2", "crop7", "crop8"]),
    ],
)
def test_crops_are_chosen_by_id_list_and_pattern(places, wanted, names):
    assert [region.name for region in choose_crops(wanted, places)] == names


def test_a_crop_brings_its_box_and_the_classes_that_count_there(places):
    test, annotated = choose_crops(["1", "7"], places)
    assert test.classes == ("mito", "nuc")
    assert annotated.classes == ("er", "mito")
    assert annotated.grid.shape == (9, 9, 9)
    assert annotated.roi == annotated.grid.bounds


@pytest.mark.parametrize("name", ["77", "b/*", "crop9*"])
def test_crops_that_do_not_exist_are_named_with_those_that_do(places, name):
    with pytest.raises(UnknownCropError, match="crop1, crop2"):
        choose_crops([name], places)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2:4,0:20,:3 voxels", (116, 0, 0), (132, 160, 24)),
        ("110:120,-8:20.5,0:8nm", (110, -8, 0), (120, 20.5, 8)),
        (":,:,: nm", (100, 0, 0), (180, 160, 240)),
    ],
)
def test_boxes_are_read_in_nm_and_voxels(text, begin, end):
    assert parse_roi(text, GRID) == Roi(begin, end)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:4,0:4,0:4", "its unit"),
        ("0:4,0:4 nm", "not a box"),
        ("4:0,0:4,0:4 voxels", "empty"),
        ("0:50,0:4,0:4 nm", "z 0:50.*z 100:180"),
        ("0:.,0:4,0:4 nm", "not a number"),
    ],
)
def test_boxes_that_cannot_be_are_refused(text, words):
    with pytest.raises(InvalidArgumentError, match=words):
        parse_roi(text, GRID)


def test_boxes_of_a_data_set_or_of_any_volume(places, world):
    (whole,) = choose_boxes("a", [], places)
    assert (whole.dataset, whole.name) == ("a", "whole")
    np.testing.assert_allclose(whole.roi.extent, (240, 272, 304))
    path = str(world.config.path("raw", dataset="a"))
    (box,) = choose_boxes(path, ["0:2,0:2,0:4 voxels"], places)
    assert (box.dataset, box.name, box.raw) == ("a", "roi_96-112_200-216_304-336", path)
    with pytest.raises(MissingDataError, match="no volume jrc_gone"):
        choose_boxes("jrc_gone", [], places)
