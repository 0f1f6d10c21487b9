"""``csc convert``: to volumes, into data sets, and back."""

import numpy as np
import pytest
import tifffile

from csc_data.config.user_config import Config
from csc_data.splits.annotations import open_crop
from csc_data.splits.splitting import make_datasplit

RAW = np.random.default_rng(0).integers(0, 3000, (20, 30, 40), np.uint16)
LABELS = np.zeros((10, 10, 10), np.uint16)
LABELS[2:7] = 1
LABELS[7:] = 2


@pytest.fixture(autouse=True)
def stacks():
    tifffile.imwrite("raw.tif", RAW, photometric="minisblack")
    tifffile.imwrite("labels.tif", LABELS, photometric="minisblack")


def test_a_stack_and_labels_of_a_part_of_it_become_a_data_set_to_train_on(run):
    said = run(
        "convert", "raw.tif", "--voxel-size", "8,4,4", "--range", "0,3000", "--data", "d", "--dataset", "mine",
        "--labels", "labels.tif", "--labels-translation", "-0,4,8", "--class-values", "mito=1,er=2",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    for words in ("20x30x40 voxels of 8x4x4 nm", "from 0 to 3000 become 0 to 255", "wrote 3 volumes", "csc train"):
        assert words in said.output
    (row,) = make_datasplit(Config(data="d")).rows
    crop = open_crop(row, ["mito"])
    assert (row.dataset, set(row.classes), crop.bounds.begin) == ("mine", {"mito", "er"}, (-4, 2, 6))
    assert "written before" in run(
        "convert", "raw.tif", "--voxel-size", "8,4,4", "--range", "0,3000", "--data", "d", "--dataset", "mine"
    ).output  # fmt: skip


def test_labels_are_known_by_their_classes_and_go_back_to_a_tiff(run):
    assert run("convert", "labels.tif", "x.zarr/mito", "--class", "mito", "--voxel-size", "8").exit_code == 0
    said = run("convert", "x.zarr/mito", "back.tif")
    assert said.output.startswith("wrote back.tif: 10x10x10 voxels of 8x8x8 nm, uint8")
    np.testing.assert_array_equal(tifffile.imread("back.tif"), LABELS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("raw.tif", "x.zarr"), 1, "does not say its voxel size; give --voxel-size Z,Y,X in nm"),
        (("raw.tif", "--voxel-size", "8"), 1, "where to? (give OUT, or --dataset with --data)"),
        (("no.tif", "x.zarr"), 1, "there is no no.tif"),
        (("raw.tif", "x.npy", "--voxel-size", "8", "--unknown", "255"), 2, "unknown: not for x.npy"),
        (("raw.tif", "x.zarr", "--class-values", "mito"), 2, "is not CLASS=VALUE"),
        (("raw.tif", "x.zarr", "--translation", "1,2"), 2, "is not 3 numbers"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run, arguments, code, words):
    said = run("convert", *arguments)
    assert (said.exit_code, words in said.output) == (code, True), said.output
