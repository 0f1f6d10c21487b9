import numpy as np
import pytest

from csc_data.challenge import TestCrop
from csc_data.challenge.test_crops import write_test_crops
from csc_data.formats.writing import create_array

PLACE = {"voxel_size": (8.0, 8.0, 8.0), "translation": (4.0, 4.0, 4.0)}
SHAPE = (4, 4, 4)


@pytest.fixture
def csc(run):
    return lambda *arguments: run(*map(str, arguments))


@pytest.fixture
def data(tmp_path):
    write_test_crops(
        tmp_path / "test_crop_manifest.csv", [TestCrop(id=7, dataset="x", shape=SHAPE, classes=("er", "pm"), **PLACE)]
    )
    mask = np.zeros(SHAPE, "u1")
    mask[:2] = 1
    for name in ("er", "pm"):
        place = {key: list(value) for key, value in PLACE.items()}
        folder = tmp_path / "mine" / "x" / "crop7" / name
        create_array(folder, shape=SHAPE, dtype="u1", chunks=SHAPE, attributes=place)[...] = mask
    return tmp_path


def test_pack_results_takes_the_official_options_and_fails_where_a_volume_does(csc, data):
    place = data / "mine" / "{dataset}" / "{crop}" / "{label}"
    options = ("--data", data, "-i", place, "-o", data / "out.zarr", "-w", 1)
    result = csc("pack-results", *options)
    assert result.exit_code == 0, result.stderr
    assert "2 of 2, 0 of them empty, 0 missing, 0 failed" in result.output
    assert csc("validate", data / "out.zip", "--data", data).exit_code == 0
    (data / "mine" / "x" / "crop7" / "pm" / ".zarray").write_text("{")
    result = csc("pack-results", *options, "-O")
    assert result.exit_code == 1
    assert "failed: crop7/pm" in result.output


def test_validate_tells_what_the_portal_does_and_mends_it(csc, data):
    submission = data / "mine" / "x"
    (submission / "crop7").rename(submission / "7")
    (submission / "7" / "pm").rename(submission / "7" / "PM")
    result = csc("validate", submission, "--data", data, "--labels")
    assert result.exit_code == 1
    assert "crop7/PM: is not the name of a class (pm is meant)" in result.output
    assert "the portal takes it; labels: 1 accepted, 1 missing" in result.output
    result = csc("validate", submission, "--data", data, "--fix", data / "new.zip")
    assert result.exit_code == 0, result.output
    assert "mended 2 faults" in result.output
    assert "the portal takes it; labels: 2 accepted" in result.output
