from __future__ import annotations

import shutil
import zipfile

import pytest

from csc_data.errors import MissingDataError, UnreadableDataError
from csc_data.formats.writing import create_array
from csc_data.geometry import Grid
from csc_data.volumes import grid_attributes
from csc_submit import check_submission
from csc_submit.packing.archive import write_zip

CLASSES = ("mito", "er", "nuc")


@pytest.fixture
def crop(write_test_crop):
    return write_test_crop((6, 5, 4), CLASSES)


@pytest.fixture
def folder(config, crop):
    place = config.path("submission")
    for name in CLASSES:
        array = create_array(
            place / "crop7" / name,
            shape=crop.shape,
            dtype="u2",
            chunks=(4, 4, 4),
            attributes={
                "voxel_size": list(crop.voxel_size),
                "translation": list(crop.translation),
                "shape": list(crop.shape),
            },
        )
        array[0, 0] = [1, 1, 7, 300]
    return place


def replace(folder, name, *, shape=(6, 5, 4), dtype="u1", voxel_size=(8, 8, 8), translation=(104, 204, 304), fill=1):
    grid = Grid(voxel_size=voxel_size, translation=translation, shape=shape)
    array = create_array(
        folder / "crop7" / name,
        shape=shape,
        dtype=dtype,
        chunks=(4, 4, 4),
        attributes=grid_attributes(grid),
        overwrite=True,
    )
    if fill:
        array[...] = fill


def test_a_good_submission_has_no_problems_and_its_ids_are_counted(config, folder, crop):
    report = check_submission(folder, config=config)
    assert report.ok
    assert report.problems == ()
    counts = {array.class_name: (array.voxels, array.instances) for array in report.arrays}
    assert counts == {"mito": (4, 3), "er": (4, None), "nuc": (4, 3)}


def test_a_zip_is_checked_like_its_folder(config, folder, crop, tmp_path):
    archive = write_zip(folder, tmp_path / "a.zip")
    assert check_submission(archive, config=config).arrays == check_submission(folder, config=config).arrays


def test_a_zarr_folder_further_down_is_found_in_folders_and_zips(config, folder, crop, tmp_path):
    outer = tmp_path / "outer"
    shutil.copytree(folder, outer / "submission.zarr")
    assert len(check_submission(outer, config=config).arrays) == 3
    archive = write_zip(outer, tmp_path / "a.zip")
    assert len(check_submission(archive, config=config).arrays) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (6, 5, 5)}, "has shape"),
        ({"dtype": "f4", "fill": 0.5}, "no whole numbers"),
        ({"voxel_size": (8, 8, 4)}, "has voxel_size"),
        ({"translation": (104, 204, 300)}, "has translation"),
        ({"dtype": "i4", "fill": -1}, "ids below 0"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_what_would_be_scored_wrongly_is_an_error(config, folder, crop, tmp_path, change, words, zipped):
    replace(folder, "mito", **change)
    path = write_zip(folder, tmp_path / "a.zip") if zipped else folder
    report = check_submission(path, config=config)
    (error,) = report.errors
    assert error.where == "crop7/mito"
    assert words in error.what
    assert {array.class_name for array in report.arrays} == {"er", "nuc"}


def test_missing_surplus_and_empty_arrays_are_remarks(config, folder, crop):
    shutil.rmtree(folder / "crop7" / "nuc")
    replace(folder, "er", fill=0)
    replace(folder, "golgi")
    create_array(folder / "crop8" / "er", shape=(2, 2, 2), dtype="u1", chunks=(2, 2, 2))
    report = check_submission(folder, config=config)
    assert report.ok
    said = {problem.where: problem.what for problem in report.remarks}
    assert said["crop7/nuc"] == "is missing"
    assert said["crop7/er"].startswith("is empty")
    assert said["crop7/golgi"] == "is not scored in this crop"
    assert said["crop8"] == "is not a test crop"


def test_a_missing_crop_is_named(config, folder, crop):
    shutil.rmtree(folder / "crop7")
    assert [problem.where for problem in check_submission(folder, config=config).remarks] == ["crop7"]


def test_damaged_chunks_and_metadata_are_named_and_the_rest_is_checked(config, folder, crop):
    chunk = folder / "crop7" / "mito" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:18])
    (folder / "crop7" / "nuc" / ".zarray").write_text("{")
    report = check_submission(folder, config=config)
    assert {problem.where for problem in report.errors} == {"crop7/mito", "crop7/nuc"}
    assert [array.class_name for array in report.arrays] == ["er"]


def test_arrays_without_a_place_in_nm_and_groups_are_errors(config, folder, crop):
    (folder / "crop7" / "mito" / ".zattrs").unlink()
    shutil.rmtree(folder / "crop7" / "er")
    create_array(folder / "crop7" / "er" / "s0", shape=crop.shape, dtype="u1", chunks=(4, 4, 4))
    found = {problem.where: str(problem) for problem in check_submission(folder, config=config).errors}
    assert "no attribute" in found["crop7/mito"]
    assert "group" in found["crop7/er"]


def test_zips_that_reach_outside_or_name_a_file_twice_are_errors(config, folder, crop, tmp_path):
    archive = write_zip(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../evil", "x")
        link = zipfile.ZipInfo("crop7/link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("crop7/.zgroup", "{}")
    said = {problem.where: problem.what for problem in check_submission(archive, config=config).errors}
    assert said["../evil"] == "is a path that leaves the zip"
    assert said["crop7/link"] == "is a symbolic link"
    assert said["crop7/.zgroup"] == "is in the zip twice"


def test_an_empty_zip_has_nothing_but_missing_crops(config, crop, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    report = check_submission(tmp_path / "a.zip", config=config)
    assert report.ok
    assert [problem.where for problem in report.remarks] == ["crop7"]


def test_nothing_and_no_zip_are_errors_of_their_own(config, crop, tmp_path):
    with pytest.raises(MissingDataError, match="no submission"):
        check_submission(tmp_path / "a.zip", config=config)
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(UnreadableDataError, match="not a zip"):
        check_submission(tmp_path / "a.zip", config=config)
