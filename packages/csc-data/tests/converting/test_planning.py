import numpy as np
import pytest

from csc_data.config.user_config import Config
from csc_data.converting import Conversion, plan_conversion, write_volumes
from csc_data.errors import CscError, ProblemsError
from csc_data.splits.annotations import open_crop
from csc_data.splits.splitting import make_datasplit
from csc_data.volumes import open_volume

RAW = np.random.default_rng(0).integers(0, 255, (40, 50, 70), np.uint8)
LABELS = np.zeros(RAW.shape, np.int32)
LABELS[5:20, 5:30, 5:30] = 1
LABELS[20:30, 5:30, 5:30] = 2
LABELS[30:, :, :] = 255


@pytest.fixture
def config(tmp_path) -> Config:
    np.save(tmp_path / "raw.npy", RAW)
    np.save(tmp_path / "labels.npy", LABELS)
    return Config(data=str(tmp_path / "data"))


def convert(config, tmp_path, **wanted):
    wanted = {"source": str(tmp_path / "raw.npy"), "voxel_size": (8, 4, 4), **wanted}
    plans = plan_conversion(Conversion(**wanted), config)
    write_volumes(plans)
    return plans


def test_raw_and_labels_of_a_data_set_are_found_split_and_read_as_annotated(config, tmp_path):
    convert(
        config, tmp_path, dataset="mine", labels=str(tmp_path / "labels.npy"), translation=(80, 0, 0),
        class_values={"mito": (1,), "er": (2,)}, unknown=255, crop=7,
    )  # fmt: skip
    (row,) = make_datasplit(config).rows
    assert (row.dataset, row.crop, set(row.classes)) == ("mine", "crop7", {"mito", "er"})
    crop = open_crop(row, ["mito", "er"])
    assert crop.raw.levels[0].grid.translation == (80, 0, 0)
    np.testing.assert_array_equal(np.asarray(crop.raw.levels[0].array[:, :, :]), RAW)
    for name, value in (("mito", 1), ("er", 2)):
        (volume,) = crop.labels[name]
        codes = np.where(LABELS == 255, 255, value == LABELS)
        np.testing.assert_array_equal(volume.levels[0].array[:, :, :], codes)
        assert volume.levels[0].grid == crop.raw.levels[0].grid


def test_ids_of_objects_are_kept_and_a_second_class_joins_the_crop(config, tmp_path):
    convert(config, tmp_path, dataset="mine")
    for name in ("mito", "ves"):
        convert(config, tmp_path, source=str(tmp_path / "labels.npy"), kind="labels", dataset="mine", class_name=name)
    volume = open_volume(config.path("labels", dataset="mine", crop="crop1", class_name="ves"))
    np.testing.assert_array_equal(np.asarray(volume.levels[0].array[:, :, :]), LABELS)
    assert volume.levels[0].dtype == np.uint8
    crop = open_volume(config.path("raw", dataset="mine")).levels[0].grid
    assert volume.levels[0].grid == crop
    (row,) = make_datasplit(config).rows
    assert set(row.classes) == {"mito", "ves"}


def test_labels_of_a_part_of_raw_lie_where_it_is_said(config, tmp_path):
    np.save(tmp_path / "part.npy", LABELS[10:20, 10:20, 10:20])
    _, labels = convert(
        config, tmp_path, dataset="mine", labels=str(tmp_path / "part.npy"), labels_translation=(80, 40, 40),
        class_name="mito",
    )  # fmt: skip
    assert labels.grid == open_volume(config.path("raw", dataset="mine")).levels[0].grid.window((10,) * 3, (10,) * 3)


def test_what_is_said_of_values_that_no_class_has(config, tmp_path):
    wanted = {"source": str(tmp_path / "labels.npy"), "kind": "labels", "out": str(tmp_path / "x.zarr")}
    (plan,) = convert(config, tmp_path, **wanted, class_values={"mito": (1,), "er": (9,)})
    assert plan.said == ("the values 2, 255 belong to no class, and count as absent", "not a voxel is er")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "where to"),
        ({"out": "a", "dataset": "b"}, "where to"),
        ({"dataset": "a", "kind": "labels"}, "labels of which classes"),
        ({"dataset": "a", "class_name": "mito"}, "not of which labels"),
        ({"out": "a", "kind": "labels", "class_values": {"mito": (0,)}}, "0 stands for a class"),
        ({"out": "a", "kind": "labels", "class_values": {"mito": (1,), "er": (1,)}}, "two classes"),
        ({"out": "a", "kind": "labels", "class_values": {"mito": (1,)}, "unknown": 1}, "unknown and a class"),
        ({"out": "a", "kind": "labels", "value_range": (0, 1)}, "--range is for raw"),
        ({"out": "a", "unknown": 3}, "--unknown is for labels"),
        ({"out": "a", "labels": "x", "class_name": "er"}, "go with raw into a data set"),
        ({"out": "a", "labels_translation": (0, 0, 0)}, "is for --labels"),
    ],
)
def test_what_does_not_go_together_is_said(wanted, words):
    with pytest.raises(ProblemsError, match=words):
        Conversion(source="x.tif", **wanted)


def test_a_class_that_nobody_has_is_told_with_the_nearest(config):
    with pytest.raises(ProblemsError, match="did you mean mito"):
        plan_conversion(Conversion(source="x.tif", dataset="a", labels="x", class_name="mitto"), config)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"voxel_size": None}, "does not say its voxel size; give --voxel-size"),
        ({"labels": "part.npy", "class_name": "mito"}, "say where in it the labels lie: --labels-translation"),
        (
            {"labels": "part.npy", "class_name": "mito", "labels_translation": (800, 0, 0)},
            r"beyond raw: .* z 100 to 109, y 0",
        ),
        ({"voxel_size": (0.008, 0.004, 0.004)}, "smaller than atoms; sizes are in nm"),
        ({"labels": "negative.npy", "class_name": "mito"}, "labels are at least 0"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(config, tmp_path, monkeypatch, wanted, words):
    monkeypatch.chdir(tmp_path)
    np.save("part.npy", LABELS[:10])
    np.save("negative.npy", -LABELS)
    with pytest.raises(CscError, match=words):
        convert(config, tmp_path, dataset="mine", **wanted)
    assert not config.root.exists()


def test_a_volume_is_not_written_over_itself(config, tmp_path):
    convert(config, tmp_path, out=str(tmp_path / "a.zarr"))
    with pytest.raises(CscError, match="write it to another place"):
        convert(config, tmp_path, source=str(tmp_path / "a.zarr"), out=str(tmp_path / "a.zarr"))


def test_labels_are_told_where_they_lie_in_the_raw_of_their_data_set(config, tmp_path):
    convert(config, tmp_path, dataset="mine", translation=(80, 0, 0))
    np.save(tmp_path / "part.npy", LABELS[:10])
    part = {"source": str(tmp_path / "part.npy"), "kind": "labels", "dataset": "mine", "class_name": "mito"}
    (there,) = convert(config, tmp_path, **part, translation=(160, 0, 0))
    assert "at voxels z 10 to 19, y 0 to 49, x 0 to 69 of raw, which has (40, 50, 70)" in there.said
    (between,) = plan_conversion(Conversion(**part, crop=2, voxel_size=(8, 4, 4), translation=(83, 1, 0)), config)
    assert any("are these nm? taken as voxels, the translation is 744,4,0" in line for line in between.said)
    (beyond,) = plan_conversion(Conversion(**part, crop=2, voxel_size=(8, 4, 4), translation=(360, 0, 0)), config)
    assert "beyond raw, labels count as unknown" in beyond.said
    with pytest.raises(CscError, match=r"lies beside the raw of mine: it would lie at voxels z -10 to -1"):
        convert(config, tmp_path, **part, crop=2, translation=(0, 0, 0))


def test_objects_of_a_class_that_is_not_scored_by_objects_are_told(config, tmp_path):
    for name, told in (("mito_mem", True), ("mito", False)):
        wanted = {"source": str(tmp_path / "labels.npy"), "kind": "labels", "voxel_size": (8, 4, 4), "dataset": "mine"}
        (plan,) = plan_conversion(Conversion(**wanted, class_name=name), config)
        assert any("is not scored by objects" in line for line in plan.said) == told
