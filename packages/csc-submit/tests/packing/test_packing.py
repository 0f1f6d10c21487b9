from __future__ import annotations

import errno
import hashlib
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from csc_data.challenge.test_crops import write_test_crops
from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_data.formats.reading import open_array
from csc_data.geometry import Grid
from csc_data.storage.room import DiskFullError
from csc_data.volumes import write_multiscale
from csc_eval import match_crop_space
from csc_eval.placing.resample import Resampled
from csc_eval.voxels.arrays import MemoryArray
from csc_submit import pack_results
from csc_submit.packing.archive import write_zip


def packed(config, class_name="mito"):
    return open_array(config.path("submission") / "crop7" / class_name)


def test_ids_survive(config, write_prediction, write_test_crop):
    labels = np.zeros((32, 32, 32), "i8")
    labels[::4, ::2, ::4] = np.arange(1, 1025).reshape(8, 16, 8)
    write_prediction(labels, kind="label", template="processed")
    write_test_crop(labels.shape)
    result = pack_results(config=config)
    stored = packed(config)[...]
    np.testing.assert_array_equal(stored, labels)
    assert stored.dtype == np.uint16
    (row,) = result.rows
    assert (row.status, row.instances, row.voxels, row.covered) == ("packed", 1024, 1024, 1.0)


@pytest.mark.parametrize("offset", [0, 2**62])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_ids_are_counted_without_zero(config, write_prediction, write_test_crop, share, offset):
    random = np.random.default_rng(0)
    labels = np.where(random.random((9, 8, 7)) < share, random.integers(1, 40, (9, 8, 7)) + offset, 0).astype("u8")
    write_prediction(labels, kind="label", template="processed")
    write_test_crop(labels.shape)
    assert pack_results(config=config).rows[0].instances == len(np.unique(labels)) - 1


def test_large_ids_survive(config, write_prediction, write_test_crop):
    labels = np.zeros((4, 4, 4), "u8")
    labels[0, 0, :3] = 2**63 + 1, 2**63 + 2, 2**53 + 1
    write_prediction(labels, kind="label", template="processed")
    write_test_crop(labels.shape)
    assert pack_results(config=config).rows[0].instances == 3
    np.testing.assert_array_equal(packed(config)[...], labels)


@pytest.mark.parametrize(("largest", "dtype"), [(98, "u1"), (255, "u1"), (256, "u2"), (70_000, "u4")])
def test_ids_take_the_smallest_type_that_holds_them(config, write_prediction, write_test_crop, largest, dtype):
    labels = np.zeros((70, 5, 4), "u8")
    labels[0, 0, 0], labels[-1, 0, :] = 1, largest
    write_prediction(labels, kind="label", template="processed")
    write_test_crop(labels.shape)
    (row,) = pack_results(config=config).rows
    assert (row.instances, row.voxels) == (2, 5)
    stored = packed(config)[...]
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, labels)


@given(
    voxel_size=st.tuples(*[st.sampled_from([2.0, 3.24, 4.0, 5.24, 8.0, 16.0])] * 3),
    offset=st.tuples(*[st.integers(-30, 30).map(lambda n: n / 4)] * 3),
    shape=st.tuples(*[st.integers(20, 70)] * 3),
    class_name=st.sampled_from(["mito", "er"]),
)
@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_are_packed_as_the_score_reads_them(config, write_prediction, write_test_crop, **drawn):
    values = np.random.default_rng(0).integers(0, 500 if drawn["class_name"] == "mito" else 2, (50, 40, 60))
    grid = Grid(voxel_size=(8.0, 8.0, 8.0), translation=(104.0, 204.0, 304.0), shape=values.shape)
    folder = config.path("processed", dataset="x", crop="crop7", class_name=drawn["class_name"])
    label = {"csc_values": {"kind": "label", "one": 1}}
    write_multiscale(folder, [values.astype("u2")], [grid], overwrite=True, attributes=label)
    translation = tuple(t + o for t, o in zip(grid.translation, drawn["offset"], strict=True))
    crop = write_test_crop(
        drawn["shape"], (drawn["class_name"],), voxel_size=drawn["voxel_size"], translation=translation
    )
    pack_results(config=config, existing="overwrite", zip=False)
    place = {"voxel_size": crop.voxel_size, "shape": crop.shape, "translation": crop.translation}
    expected = match_crop_space(folder, drawn["class_name"], **place, rules="definition-2026-06")
    np.testing.assert_array_equal(packed(config, drawn["class_name"])[...], expected)
    there = match_crop_space(config.path("submission") / "crop7" / drawn["class_name"], drawn["class_name"], **place)
    np.testing.assert_array_equal(there, expected)  # the leaderboard's own shifts find nothing to do


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_masks_of_a_threshold_are_resampled_as_probabilities_where_these_were_kept(
    config, write_prediction, write_test_crop, make_blobs, kept, plain
):
    values = (make_blobs((20, 20, 20)) * 255).astype("u1")
    mask = values > 100
    if not plain:
        mask[3] = False
    if kept:
        write_prediction(values, "er", kind="probability", one=255)
    folder = write_prediction(mask.astype("u1"), "er", kind="label", template="processed")
    crop = write_test_crop((40, 40, 40), ("er",), voxel_size=(4, 4, 4), translation=(102, 202, 302))
    (row,) = pack_results(config=config).rows
    place = {"voxel_size": crop.voxel_size, "shape": crop.shape, "translation": crop.translation}
    if kept and plain:
        probabilities = Resampled(MemoryArray(values / np.float32(255)), (2, 2, 2), 1)
        expected = probabilities.read((0, 0, 0), crop.shape) > 100.5 / 255
        assert row.source == str(config.path("predictions", dataset="x", crop="crop7", class_name="er"))
    else:
        expected = match_crop_space(folder, "er", **place, rules="definition-2026-06")
    np.testing.assert_array_equal(packed(config, "er")[...], expected)
    (again,) = pack_results(config=config).rows
    assert again == replace(row, status="there")


def test_what_lies_beyond_the_source_is_zero_and_the_share_is_told(config, write_prediction, write_test_crop):
    write_prediction(np.ones((10, 10, 10), "u1"), "er", kind="label", template="processed")
    write_test_crop((20, 10, 10), ("er",))
    (row,) = pack_results(config=config).rows
    assert row.covered == pytest.approx(0.5)
    assert row.voxels == 1000
    assert not packed(config, "er")[10:].any()


def test_a_source_elsewhere_fails(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed", translation=(0, 0, 0))
    write_test_crop((4, 4, 4), ("er",))
    (row,) = pack_results(config=config).failed
    assert "does not overlap the test crop" in row.reason


@pytest.mark.parametrize(
    ("dtype", "one", "kind"), [("u1", 255, "probability"), ("f4", 1, "probability"), ("f4", 1, None)]
)
def test_probabilities_are_refused_or_thresholded_as_asked(
    config, write_prediction, write_test_crop, make_blobs, dtype, one, kind
):
    stored = (make_blobs((12, 12, 12)) * one).astype(dtype)
    write_prediction(stored, "er", kind=kind, one=one, template="processed")
    write_test_crop(stored.shape, ("er",))
    (row,) = pack_results(config=config).failed
    assert "probability" in row.reason
    assert "threshold" in row.reason
    (row,) = pack_results(config=config, as_probabilities="threshold", threshold=0.4).rows
    assert row.status == "packed"
    np.testing.assert_array_equal(packed(config, "er")[...], stored > 0.4 * one)


def test_a_threshold_on_another_grid_comes_after_linear_interpolation(config, write_prediction, write_test_crop):
    # A plane between two voxels: half way between 0.2 and 0.6 it is 0.4, which nearest neighbour never gives.
    stored = np.zeros((1, 1, 2), "f4")
    stored[..., 0], stored[..., 1] = 0.2, 0.6
    write_prediction(stored, "er", kind="probability", template="processed")
    write_test_crop((1, 1, 4), ("er",), voxel_size=(8.0, 8.0, 4.0), translation=(104.0, 204.0, 302.0))
    pack_results(config=config, as_probabilities="threshold", threshold=0.45)
    assert packed(config, "er")[...].ravel().tolist() == [0, 0, 1, 1]
    pack_results(config=config, as_probabilities="threshold", threshold=0.28, existing="overwrite")
    assert packed(config, "er")[...].ravel().tolist() == [0, 1, 1, 1]


def test_the_table_tells_what_was_packed_missing_and_failed(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    write_prediction(np.full((4, 4, 4), 0.3, "f4"), "pm", template="processed")
    write_test_crop((4, 4, 4), ("er", "pm", "nuc"))
    result = pack_results(config=config)
    assert {row.class_name: row.status for row in result.rows} == {"er": "packed", "pm": "failed", "nuc": "missing"}
    assert [row.class_name for row in result.missing] == ["nuc"]
    assert [row.class_name for row in result.failed] == ["pm"]
    assert result.archive is not None


def test_nothing_to_pack_is_an_error_that_says_what_makes_it(config, write_test_crop):
    write_test_crop((4, 4, 4))
    with pytest.raises(MissingDataError, match="csc process"):
        pack_results(config=config)
    with pytest.raises(MissingDataError):
        pack_results(config=config, source=config.root / "elsewhere")


def test_without_a_list_of_its_own_a_data_folder_has_the_crops_of_the_challenge(config, write_prediction):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    with pytest.raises(MissingDataError, match=r"413 arrays that 16 test crops want"):
        pack_results(config=config)


def test_other_folders_are_packed_with_and_without_data_sets(config, write_prediction, write_test_crop, tmp_path):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label")
    write_test_crop((4, 4, 4), ("er",))
    assert pack_results(config=config, source=config.root / "predictions").rows[0].status == "packed"
    plain = config.root / "predictions" / "x.zarr"
    result = pack_results(config=config, source=plain, destination=tmp_path / "other.zarr")
    assert result.rows[0].status == "packed"
    assert result.archive == tmp_path / "other.zip"
    assert (tmp_path / "other.zarr" / "crop7" / "er" / ".zarray").exists()


def test_the_zip_that_grows_with_the_arrays_is_the_one_of_the_folder(
    config, write_prediction, write_test_crop, tmp_path
):
    crop = write_test_crop((4, 4, 4), ("er", "mito", "nuc", "pm"))
    crops = [replace(crop, id=number) for number in (7, 30, 8)]
    write_test_crops(config.root / "test_crop_manifest.csv", crops)
    for one in crops:
        for name in ("er", "mito", "nuc"):
            write_prediction(np.full((4, 4, 4), one.id), name, crop=one.name, kind="label", template="processed")
    pack_results(config=config)
    shutil.rmtree(config.path("submission") / "crop30" / "mito")  # one is packed anew between those that are there
    damaged = config.path("processed", dataset="x", crop="crop8", class_name="nuc") / "s0" / "0" / "0" / "0"
    damaged.write_bytes(b"damaged")
    shutil.rmtree(config.path("submission") / "crop8" / "nuc")
    result = pack_results(config=config)
    assert [row.status for row in result.rows if row.class_name == "nuc"] == ["there", "failed", "there"]
    assert result.archive.read_bytes() == write_zip(config.path("submission"), tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(result.archive) as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert {name.rpartition("/")[0] for name in names if name.endswith(".zarray")} == {
        *(f"crop{number}/{name}" for number in (7, 30, 8) for name in ("er", "mito")),
        "crop7/nuc",
        "crop30/nuc",
    }


def test_a_class_that_fails_is_taken_out_of_the_zip_too(config, write_prediction, write_test_crop):
    for name in ("er", "mito"):
        write_prediction(np.ones((4, 4, 4), "i4"), name, kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er", "mito"))
    pack_results(config=config)
    damaged = config.path("processed", dataset="x", crop="crop7", class_name="mito") / "s0" / "0" / "0" / "0"
    damaged.write_bytes(b"damaged")
    result = pack_results(config=config, existing="overwrite")
    assert [row.status for row in result.rows] == ["packed", "failed"]
    with zipfile.ZipFile(result.archive) as archive:
        assert not [name for name in archive.namelist() if "mito" in name]


def test_where_all_fail_there_is_no_zip(config, write_prediction, write_test_crop):
    write_prediction(np.full((4, 4, 4), -1, "i4"), kind="label", template="processed")
    write_test_crop((4, 4, 4))
    result = pack_results(config=config)
    assert (result.archive, [row.status for row in result.rows]) == (None, ["failed"])
    assert not list(config.root.glob("submission.zip*"))


@pytest.mark.slow
def test_processes_pack_the_same(config, write_prediction, write_test_crop, tmp_path, monkeypatch):
    labels = np.random.default_rng(0).integers(0, 5, (70, 20, 20)).astype("u1")
    for name in ("mito", "nuc"):
        write_prediction(labels, name, kind="label", template="processed")
    write_test_crop(labels.shape, ("mito", "nuc"))
    monkeypatch.setattr("csc_submit.packing.running.BLOCKS_PER_PROCESS", 1)
    here = pack_results(config=config, destination=tmp_path / "here.zarr")
    there = pack_results(config=config, destination=tmp_path / "there.zarr", max_workers=2)
    assert here.rows == there.rows
    assert here.archive.read_bytes() == there.archive.read_bytes()


def test_arrays_are_zarr_format_2_with_their_place_in_nm(config, write_prediction, write_test_crop):
    write_prediction(np.ones((6, 5, 4), "u1"), "er", kind="label", template="processed")
    crop = write_test_crop((6, 5, 4), ("er",))
    pack_results(config=config)
    array = packed(config, "er")
    attributes = dict(array.attrs)
    assert attributes["voxel_size"] == list(crop.voxel_size)
    assert attributes["translation"] == list(crop.translation)
    assert attributes["shape"] == list(crop.shape)
    assert (config.path("submission") / "crop7" / "er" / ".zarray").exists()


def test_the_zip_holds_crops_at_its_root_and_is_the_same_each_time(config, write_prediction, write_test_crop):
    labels = np.random.default_rng(0).integers(0, 5, (70, 20, 20)).astype("u1")
    write_prediction(labels, kind="label", template="processed")
    write_test_crop(labels.shape)
    first = pack_results(config=config).archive
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    (config.path("submission") / "crop7" / ".er.part").mkdir()
    (config.path("submission") / "crop7" / ".er.part" / "blocks.ledger").write_text("{}")
    (config.path("submission") / ".DS_Store").write_text("")
    second = pack_results(config=config, existing="overwrite").archive
    with zipfile.ZipFile(second) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert names == sorted(names)
    assert {".zgroup", "crop7/.zgroup", "crop7/mito/.zarray", "crop7/mito/.zattrs", "crop7/mito/1/0/0"} <= set(names)
    assert not any("part" in name or "DS_Store" in name for name in names)
    assert hashlib.sha256(second.read_bytes()).hexdigest() == digest
    store = zarr.storage.ZipStore(str(second), mode="r")
    np.testing.assert_array_equal(zarr.open(store, mode="r", path="crop7/mito")[...], labels)
    store.close()
    assert [p.name for p in config.root.iterdir() if p.name.endswith(".part")] == []


def test_existing_submissions_are_kept_refused_or_replaced_as_asked(config, write_prediction, write_test_crop):
    folder = write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er",))
    pack_results(config=config)
    (row,) = pack_results(config=config).rows
    assert (row.status, row.voxels) == ("there", 64)
    with pytest.raises(ExistingOutputError):
        pack_results(config=config, existing="refuse")
    (folder / "s0" / "0" / "0" / "0").unlink()
    with pytest.raises(ExistingOutputError, match="overwrite"):
        pack_results(config=config)
    (row,) = pack_results(config=config, existing="overwrite").rows
    assert (row.status, row.voxels) == ("empty", 0)


def test_unfinished_processing_is_not_packed(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    place = config.path("processed", dataset="x", crop="crop7", class_name="mito")
    place.with_name(".mito.part").mkdir(parents=True)
    write_test_crop((4, 4, 4), ("er", "mito"))
    (row,) = pack_results(config=config).failed
    assert "not finished" in row.reason


def test_classes_are_added_one_by_one_and_others_stay(config, write_prediction, write_test_crop, tmp_path):
    for name in ("er", "pm"):
        write_prediction(np.ones((4, 4, 4), "u1"), name, kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er", "pm", "nuc"))
    whole = pack_results(config=config, destination=tmp_path / "whole.zarr").archive
    (row,) = pack_results(config=config, classes=["er"]).rows
    assert (row.class_name, row.status) == ("er", "packed")
    shutil.rmtree(config.path("processed", dataset="x", crop="crop7", class_name="er"))
    result = pack_results(config=config, classes=["pm", "nuc"])
    assert [(row.class_name, row.status) for row in result.rows] == [("nuc", "missing"), ("pm", "packed")]
    assert result.archive.read_bytes() == whole.read_bytes()
    with pytest.raises(InvalidArgumentError, match="mito is not scored in these test crops"):
        pack_results(config=config, classes=["mito"])


def test_what_a_killed_run_left_of_the_zip_takes_no_room_for_good(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "u1"), "er", kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er",))
    (config.root / "submission.zip.part").write_bytes(b"x" * 10_000)
    archive = pack_results(config=config).archive
    assert [path.name for path in config.root.glob("submission.zip*")] == [archive.name]


def test_a_full_disk_is_no_fault_of_a_class_so_that_nothing_is_removed(
    config, write_prediction, write_test_crop, monkeypatch
):
    for name in ("er", "pm"):
        write_prediction(np.ones((4, 4, 4), "u1"), name, kind="label", template="processed")
    write_test_crop((4, 4, 4), ("er", "pm"))
    pack_results(config=config)
    there = sorted(config.path("submission").rglob("*"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("csc_submit.packing.running.write_packed", full)
    with pytest.raises(DiskFullError, match="it goes on where it stopped"):
        pack_results(config=config, existing="overwrite")
    assert sorted(config.path("submission").rglob("*")) == there


def test_float_labels_and_a_threshold_beyond_one_are_refused(config, write_prediction, write_test_crop):
    write_prediction(np.ones((4, 4, 4), "f4"), kind="label", template="processed")
    write_test_crop((4, 4, 4))
    (row,) = pack_results(config=config).failed
    assert "whole numbers" in row.reason
    with pytest.raises(InvalidArgumentError, match="threshold"):
        pack_results(config=config, threshold=1.0)
