from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from csc_data.errors import ExistingOutputError, ProblemsError
from csc_data.formats.reading import open_array
from csc_data.formats.writing import create_array
from csc_eval import validate_submission
from csc_submit import fix_submission
from csc_submit.packing.archive import write_zip

SHAPE = (6, 5, 4)
IDS = np.zeros(SHAPE, "u2")
IDS[:3], IDS[4:] = 1, 98


@pytest.fixture
def crop(write_test_crop):
    return write_test_crop(SHAPE, ("mito", "er"))


@pytest.fixture
def folder(tmp_path, crop):
    place = {"voxel_size": list(crop.voxel_size), "translation": list(crop.translation)}
    for name, values in (("mito", IDS), ("er", (IDS > 1).astype("u1"))):
        array = create_array(
            tmp_path / "s" / "crop7" / name, shape=SHAPE, dtype=values.dtype, chunks=SHAPE, attributes=place
        )
        array[...] = values
    return tmp_path / "s"


def fixed(submission, config, tmp_path):
    """Fix a submission, check that nothing but its faults has changed, and return the names of what was mended."""
    result = fix_submission(submission, tmp_path / "fixed.zip", config=config)
    assert result.report.ok, result.report.findings
    assert not result.report.findings
    assert result.left_out == ()
    with zipfile.ZipFile(result.archive) as archive:
        archive.extractall(tmp_path / "out")
    mito = open_array(tmp_path / "out" / "crop7" / "mito")
    assert mito.dtype == np.uint8
    np.testing.assert_array_equal(mito[...], IDS)
    np.testing.assert_array_equal(open_array(tmp_path / "out" / "crop7" / "er")[...], IDS > 1)
    assert mito.attrs["voxel_size"] == [8, 8, 8]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    return {finding.cause.name for finding in result.fixed}


def wrapped(path, name, above="", more=()):
    with zipfile.ZipFile(path.with_name(name), "w") as archive:
        if path.is_dir():
            for file in path.rglob("*"):
                archive.write(file, above + file.relative_to(path).as_posix())
        else:
            archive.write(path, above + path.name)
        for key in more:
            archive.writestr(key, "x")
    return path.with_name(name)


@pytest.mark.parametrize("times", [1, 2])
def test_nested_zips(config, folder, tmp_path, times):
    path = write_zip(folder, tmp_path / "0.zip")
    for number in range(times):
        path = wrapped(path, f"{number + 1}.zip")
    assert fixed(path, config, tmp_path) == {"nested_zip"}


@pytest.mark.parametrize(
    ("above", "more", "causes"),
    [
        ("my/results/", (), {"deeper"}),
        ("a.zarr/", ("__MACOSX/._a.zarr",), {"macosx_zarr"}),
        ("", ("__MACOSX/crop7/._er", "readme.txt", "crop7/zzz/.zarray"), {"macosx", "stray_file", "surplus"}),
    ],
)
def test_layout(config, folder, tmp_path, above, more, causes):
    assert fixed(wrapped(folder, "a.zip", above, more), config, tmp_path) == causes


def test_names(config, folder, tmp_path):
    (folder / "crop7" / "mito").rename(folder / "crop7" / "Mito.zarr")
    (folder / "crop7").rename(folder / "7")
    assert fixed(folder, config, tmp_path) == {"bare_ids", "label_name"}


def test_groups_attributes_and_types(config, folder, crop, tmp_path):
    place = {"voxel_size": list(crop.voxel_size), "translation": list(crop.translation)}
    (folder / "crop7" / "er").rename(folder / "er")
    (folder / "crop7" / "er").mkdir()
    (folder / "er").rename(folder / "crop7" / "er" / "s0")
    (folder / "crop7" / "er" / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    array = create_array(
        folder / "crop7" / "mito",
        shape=SHAPE,
        dtype=">f4",
        chunks=SHAPE,
        attributes={"shape": [1, 2, 3]},
        overwrite=True,
    )
    array[...] = IDS
    causes = fixed(folder, config, tmp_path)
    assert {"group", "no_voxel_size", "no_translation", "shape_attribute"} <= causes
    assert causes & {"big_endian_ids", "float_labels"}
    assert open_array(tmp_path / "out" / "crop7" / "mito").attrs["translation"] == place["translation"]


def test_what_cannot_be_read_is_left_out_and_named(config, folder, tmp_path):
    chunk = folder / "crop7" / "er" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:18])
    result = fix_submission(folder, tmp_path / "fixed.zip", config=config)
    (line,) = result.left_out
    assert line.startswith("crop7/er: ")
    assert {finding.cause.name for finding in result.report.findings} == {"missing_label"}
    assert result.fixed == ()


def test_what_nobody_can_mend_is_an_error(config, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ProblemsError, match="no test crop"):
        fix_submission(tmp_path / "a.zip", tmp_path / "fixed.zip", config=config)
    assert not (tmp_path / "fixed.zip").exists()
    with pytest.raises(ExistingOutputError):
        fix_submission(folder, tmp_path / "a.zip", config=config)


def test_what_pack_results_writes_is_right(config, write_prediction, crop):
    from csc_submit import pack_results

    for name in crop.classes:
        labels = np.zeros((6, 5, 4), "u1")
        labels[0, 0, 0] = 1
        write_prediction(labels, name, kind="label", template="processed")
    assert validate_submission(pack_results(config=config).archive, config=config).findings == ()
