from __future__ import annotations

import zipfile

import numpy as np
import pytest
import zarr

import csc_submit
from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_submit import package_submission, save_numpy_class_arrays_to_zarr, save_numpy_class_labels_to_zarr


@pytest.fixture
def data(config, monkeypatch, write_prediction, write_test_crop):
    monkeypatch.setenv("CSC_DATA", config.data)
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er", "pm"))
    return config


def test_package_submission_takes_the_official_arguments(data, tmp_path):
    template = f"{data.root}/processed/{{dataset}}.zarr/{{crop}}"
    result = package_submission(
        input_search_path=template, output_path=tmp_path / "mine", overwrite=True, max_workers=2
    )
    assert {row.class_name: row.status for row in result.rows} == {"er": "packed", "pm": "missing"}
    assert (tmp_path / "mine.zarr" / "crop7" / "er" / ".zarray").exists()
    assert (tmp_path / "mine.zip").exists()
    assert package_submission().archive == data.root / "submission.zip"


@pytest.mark.parametrize("template", ["{dataset}.zarr/{crop}/{label}", "{dataset}.zarr/{crop}/{class_name}"])
def test_search_paths_may_name_the_class(data, template):
    assert package_submission(f"{data.root}/processed/{template}").packed


@pytest.mark.parametrize(("template", "words"), [("{data}/{crop}", "placeholder {data}"), ("{dataset}", "no {crop}")])
def test_search_paths_that_cannot_be_are_refused(data, template, words):
    with pytest.raises(InvalidArgumentError, match=words):
        package_submission(template)


def test_a_submission_can_be_zipped_again(data):
    package_submission()
    (data.root / "submission.zip").unlink()
    with zipfile.ZipFile(csc_submit.zip_submission()) as archive:
        assert "crop7/er/.zarray" in archive.namelist()
    with pytest.raises(MissingDataError):
        csc_submit.zip_submission(data.root / "other.zarr")


def test_class_numbers_become_masks(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (5, 6, 7))
    path, place = tmp_path / "submission.zarr", {"voxel_size": (8, 8, 8), "translation": np.array([4.0, 4, 4])}
    save_numpy_class_labels_to_zarr(path, "crop7", ["er", "pm"], labels, attrs=place)
    for number, name in enumerate(["er", "pm"], start=1):
        stored = zarr.open_array(str(path / "crop7" / name), mode="r")
        np.testing.assert_array_equal(stored[...], labels == number)
        assert stored.attrs["voxel_size"] == [8, 8, 8]
        assert stored.attrs["translation"] == [4.0, 4.0, 4.0]
    with pytest.raises(ExistingOutputError):
        csc_submit.save_numpy_labels_to_zarr(
            submission_path=path, test_volume_name="crop7", label_names=["er"], labels=labels // 2
        )
    with pytest.raises(InvalidArgumentError, match="from 0 to 1"):
        save_numpy_class_labels_to_zarr(path, "crop8", ["er"], labels)


def test_arrays_are_appended_and_replaced_only_when_asked(tmp_path):
    path, ids = tmp_path / "submission.zarr", np.arange(8, dtype="u2").reshape(2, 2, 2)
    save_numpy_class_arrays_to_zarr(path, "crop7", ["mito"], [ids])
    save_numpy_class_arrays_to_zarr(path, "crop7", ["er"], [ids > 3])
    with pytest.raises(ExistingOutputError):
        save_numpy_class_arrays_to_zarr(path, "crop7", ["nuc", "er"], [ids, ids])
    csc_submit.save_numpy_binary_to_zarr(path, "crop7", ["er"], [ids > 5], overwrite=True)
    group = zarr.open_group(str(path), mode="r")["crop7"]
    assert sorted(group.array_keys()) == ["er", "mito"]
    np.testing.assert_array_equal(group["mito"][...], ids)
    assert int(group["er"][...].sum()) == 2
    with pytest.raises(InvalidArgumentError, match="2 names for 1 array"):
        save_numpy_class_arrays_to_zarr(path, "crop7", ["a", "b"], [ids])
