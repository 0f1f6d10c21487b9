import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch

from csc_data.blocks import unfinished_work
from csc_data.errors import ExistingOutputError, InvalidArgumentError
from csc_data.geometry import Grid
from csc_data.storage.room import DiskFullError
from csc_data.volumes import open_volume, write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_models import create_model
from csc_train import IncompletePredictionError, TrainSettings, plan_prediction, predict
from csc_train.prediction.blocks import BlockJob
from csc_train.prediction.planning.record import ATTRIBUTE

AS_IS = {"checkpoint": "untrained", "output": "logit", "output_dtype": "float32", "device": "cpu"}
BOX1, BOX2 = ((2, 3, 4), (12, 12, 12)), ((0, 0, 0), (9, 9, 9))


def stamps(world, crop, name):
    folder = world.config.path("predictions", dataset="a", crop=crop, class_name=name)
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_of_a_test_crop_the_classes_are_written_that_are_scored_there(world, multiples):
    plans = []
    result = predict(multiples, config=world.config, on_plan=plans.append, **AS_IS)
    assert world.written("crop1") == ["mito"]
    assert world.written("crop2") == ["ld", "mito"]
    assert [crop.classes for crop in result.crops] == [("mito",), ("mito", "ld")]
    np.testing.assert_array_equal(world.read("crop2", "ld").levels[0].array[...], 2 * world.part(*BOX2))
    assert any("lacks 1 of 3 classes" in line and "nuc" in line for line in plans[0].lines)


def test_more_classes_later_leave_those_that_are_done(world, multiples):
    predict(multiples, ["1"], config=world.config, **AS_IS)
    before = stamps(world, "crop1", "mito")
    result = predict(multiples, ["1"], config=world.config, all_classes=True, **AS_IS)
    assert world.written("crop1") == ["er", "ld", "mito"]
    assert stamps(world, "crop1", "mito") == before
    assert 0 < result.crops[0].resumed_blocks < result.crops[0].blocks
    for factor, name in enumerate(("mito", "ld", "er"), start=1):
        np.testing.assert_array_equal(world.read("crop1", name).levels[0].array[...], factor * world.part(*BOX1))
    # What is there stays what it is.
    with pytest.raises(IncompletePredictionError, match=r"value_transforms none then"):
        predict(multiples, ["1"], config=world.config, **{**AS_IS, "value_transforms": lambda x: x + 1})


def test_overwriting_some_classes_leaves_the_others(world, multiples):
    predict(multiples, ["1"], config=world.config, all_classes=True, **AS_IS)
    before = stamps(world, "crop1", "er")
    changed = {**AS_IS, "value_transforms": lambda x: x + 1}
    predict(multiples, ["1"], config=world.config, existing="overwrite", classes_to_write=["mito"], **changed)
    np.testing.assert_array_equal(world.read("crop1").levels[0].array[...], world.part(*BOX1) + 1)
    assert stamps(world, "crop1", "er") == before
    result = predict(multiples, ["1"], config=world.config, classes_to_write=["er"], **AS_IS)
    assert result.crops[0].resumed_blocks == result.crops[0].blocks
    with pytest.raises(IncompletePredictionError, match=r"value_transforms <lambda> .*then, none now"):
        predict(multiples, ["1"], config=world.config, classes_to_write=["mito"], **AS_IS)
    predict(multiples, ["1"], config=world.config, existing="overwrite", all_classes=True, **AS_IS)
    np.testing.assert_array_equal(world.read("crop1").levels[0].array[...], world.part(*BOX1))
    folder = world.config.path("predictions", dataset="a", crop="crop1", class_name="x").parent
    assert len(list(folder.glob("*.ledger"))) == 1
    with pytest.raises(IncompletePredictionError, match="holds output"):
        predict(multiples, ["1"], config=world.config, existing="refuse", **AS_IS)


def test_annotated_crops_and_boxes(world, multiples):
    world.annotate("crop7", (5, 5, 5), (9, 9, 9), "er", "nuc")
    predict(multiples, "7", config=world.config, **AS_IS)
    assert world.written("crop7") == ["er"]
    np.testing.assert_array_equal(world.read("crop7", "er").levels[0].array[...], 3 * world.part((5, 5, 5), (9, 9, 9)))
    result = predict(multiples, config=world.config, volume="a", rois="4:14,0:8,30:38 voxels", **AS_IS)
    assert set(world.written(result.crops[0].crop)) == {"mito", "ld", "er"}
    found = world.read(result.crops[0].crop).levels[0].array[...]
    np.testing.assert_array_equal(found, world.part((4, 0, 30), (10, 8, 8)))


def test_masks_have_a_threshold_for_each_class(world, multiples):
    settings = {"checkpoint": "untrained", "device": "cpu", "output": "mask", "raw_range": (-4.0, 4.0)}
    untrained = type(multiples)(**{**vars(multiples), "raw_range": (-4.0, 4.0)})
    settings.pop("raw_range")
    predict(untrained, ["2"], config=world.config, threshold={"mito": 0.8}, **settings)
    logit = world.part(*BOX2) * (8 / 255) - 4
    volume = world.read("crop2")
    clear = np.abs(logit - np.log(4)) > 0.01
    np.testing.assert_array_equal(volume.levels[0].array[...][clear], (logit > np.log(4))[clear])
    assert StoredValues.from_attributes(volume.attributes).kind == "label"
    np.testing.assert_array_equal(world.read("crop2", "ld").levels[0].array[...][clear], (logit > 0)[clear])


def test_levels_are_made_after_the_blocks_and_may_be_added_later(world, multiples, monkeypatch):
    predict(multiples, ["1"], config=world.config, scales=2, **AS_IS)
    folder = world.config.path("predictions", dataset="a", crop="crop1", class_name="mito")
    first, second = world.read("crop1").levels
    mean = world.part(*BOX1).reshape(6, 2, 6, 2, 6, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(second.array[...], mean, rtol=1e-6)
    assert second.grid.bounds == first.grid.bounds
    monkeypatch.setattr(BlockJob, "__call__", lambda *_: pytest.fail("a block was done again"))
    predict(multiples, ["1"], config=world.config, scales=3, **AS_IS)
    assert [level.grid.shape for level in world.read("crop1").levels] == [(12, 12, 12), (6, 6, 6), (3, 3, 3)]
    assert unfinished_work(folder.parent) == ()


def test_shards_hold_many_chunks_and_blocks_fit_into_them(world, multiples):
    pytest.importorskip("tensorstore")
    sharded = {**AS_IS, "output_format": 3, "shards": 12, "output_chunks": (3, 3, 3), "scales": 2}
    plan = plan_prediction(multiples, ["1"], config=world.config, **sharded)
    predict(multiples, ["1"], config=world.config, **sharded)
    first, second = world.read("crop1").levels
    np.testing.assert_array_equal(first.array[...], world.part(*BOX1))
    assert second.array[...].mean() == pytest.approx(first.array[...].mean())
    folder = world.config.path("predictions", dataset="a", crop="crop1", class_name="mito")
    assert len([file for file in folder.rglob("c/*/*/*") if file.is_file()]) == plan.estimate.regions[0].files == 2


def test_output_may_lie_on_the_grid_of_the_crop(world, multiples):
    """Half a voxel off and coarser: each voxel of the crop is the mean of raw within it."""
    own = Grid(voxel_size=(16, 16, 16), translation=(120.0, 224.0, 344.0), shape=(5, 6, 7))
    world.add(3, None, None, ("mito",), grid=own)
    predict(multiples, ["3"], config=world.config, output_grid="crop", overlap=0.5, **AS_IS)
    level = world.read("crop3").levels[0]
    assert level.grid == own
    begin = [round((b - r) / 8) for b, r in zip(own.bounds.begin, (96, 200, 304), strict=True)]
    raw = world.part(begin, [2 * n for n in own.shape])
    expected = raw.reshape(5, 2, 6, 2, 7, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(level.array[...], expected, rtol=1e-5)


def test_the_plan_counts_passes_voxels_and_disk_and_writes_nothing(world, multiples, monkeypatch):
    plan = plan_prediction(multiples, config=world.config, tta="mirror", scales=2, **AS_IS)
    assert not (world.config.root / "predictions").exists()
    one, two = plan.estimate.regions
    # 12 voxels, with 2 of raw on either side, by windows of 8 every 6, which begin at -2, 4 and 6; of each of 8 poses.
    assert (one.passes, one.shape) == (8 * 3**3, (12, 12, 12))
    assert one.bytes == 4 * (12**3 + 6**3)
    assert two.bytes == 2 * 4 * (9**3 + 5**3)
    counted = []
    real = BlockJob.__call__
    monkeypatch.setattr(BlockJob, "__call__", lambda job, block: (counted.append(block), real(job, block)))
    predict(multiples, config=world.config, tta="mirror", scales=2, **AS_IS)
    assert len(counted) == one.blocks + two.blocks
    again = plan_prediction(multiples, config=world.config, tta="mirror", scales=2, **AS_IS)
    assert again.estimate.passes == again.estimate.bytes == 0


def test_what_does_not_fit_is_an_error_before_the_first_block(world, multiples, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 5000, 5000))
    with pytest.raises(DiskFullError, match=r"12\.7 kB and 5\.0 kB are free.*output_grid"):
        predict(multiples, config=world.config, **AS_IS)
    assert not (world.config.root / "predictions").exists()


def test_a_crop_beside_raw_is_an_error_and_one_partly_beside_it_is_told(world, multiples):
    world.add(3, (200, 0, 0), (9, 9, 9), ("mito",))
    world.add(4, (25, 0, 0), (10, 9, 9), ("mito",))
    with pytest.raises(IncompletePredictionError, match=r"a/crop3: it lies beside .*z 1696:1768.*z 96:336") as caught:
        predict(multiples, ["3", "4"], config=world.config, **AS_IS)
    assert [crop.crop for crop in caught.value.result.crops] == ["crop4"]
    plan = plan_prediction(multiples, ["4"], config=world.config, **AS_IS)
    assert any("crop4" in line and "50.0% of it within raw" in line for line in plan.lines)


def test_a_crop_of_which_nothing_was_fetched_is_an_error(world, multiples):
    shutil.rmtree(world.config.path("raw", dataset="a") / "s0" / "0")
    with pytest.raises(IncompletePredictionError, match="none of the 1 chunks"):
        predict(multiples, ["2"], config=world.config, **AS_IS)


def test_a_plan_and_the_arrays_say_what_they_are_made_with(world, multiples):
    plans = []
    predict(multiples, ["1"], config=world.config, on_plan=plans.append, **AS_IS)
    text = "\n".join(plans[0].lines)
    for words in ("random weights", "raw from 0 to 255", "8x8x8 voxels of 8 nm", "cpu, precision 32-true", "a/crop1"):
        assert words in text
    record = world.read("crop1").attributes[ATTRIBUTE]
    assert (record["raw_range"], record["overlap"], record["network_classes"]) == ([0, 255], 0.25, ["mito", "ld", "er"])


def test_weights_of_the_official_toolbox_take_raw_as_it_is(world, tmp_path):
    settings = TrainSettings(
        classes=("mito", "ld", "er"),
        architecture="3d_unet",
        model_kwargs={"width": 4},
        input_array_info={"shape": (16, 16, 16), "scale": (8, 8, 8)},
    )
    weights = create_model("3d_unet", n_channels=1, n_classes=3, width=4).state_dict()
    torch.save(weights, tmp_path / "official_3.pth")
    plan = plan_prediction(settings, config=world.config, checkpoint=tmp_path / "official_3.pth", device="cpu")
    assert plan.record.raw_range == (0, 255)
    assert plan.record.checkpoints[0].epoch is None
    assert "official_3.pth (sha256 " in plan.lines[0]


def test_the_arguments_of_the_official_toolbox_are_understood(world, multiples, tmp_path):
    out = tmp_path / "mine" / "{dataset}_{crop}.zarr"
    official = {
        "config_path": multiples,
        "crops": "1, 2",
        "output_path": str(out),
        "do_orthoplanes": True,
        "overwrite": True,
        "search_path": f"{tmp_path}/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}",
        "raw_name": "em/fibsem-uint8",
        "crop_name": "labels/groundtruth/{crop}/{label}",
    }
    result = predict(**official, config=world.config, **AS_IS)
    assert [crop.folder.name for crop in result.crops] == ["a_crop1.zarr", "a_crop2.zarr"]
    assert sorted(path.name for path in (tmp_path / "mine" / "a_crop2.zarr").glob("[!.]*")) == ["ld", "mito"]
    with pytest.raises(InvalidArgumentError, match="said twice"):
        predict(multiples, config_path="other.py", config=world.config)
    with pytest.raises(InvalidArgumentError, match="existing is said twice"):
        predict(multiples, config=world.config, overwrite=True, existing="resume")
    with pytest.raises(InvalidArgumentError, match="would both be written to"):
        predict(multiples, config=world.config, output_path=tmp_path / "one", **AS_IS)


def test_value_transforms_are_applied_and_random_ones_refused(world, multiples):
    predict(multiples, ["1"], config=world.config, value_transforms=lambda x: 255 - x, **AS_IS)
    np.testing.assert_array_equal(world.read("crop1").levels[0].array[...], 255 - world.part(*BOX1))
    with pytest.raises(IncompletePredictionError, match="at random"):
        predict(multiples, ["2"], config=world.config, value_transforms=lambda x: x + torch.rand(1), **AS_IS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes_to_write": ["mitto"]}, "no class mitto: did you mean mito"),
        ({"crops": "99"}, "no crop 99"),
        ({"volume": "a", "rois": "900:950,0:8,0:8 voxels"}, "lies outside"),
        ({"volume": "nowhere"}, "no volume nowhere"),
        ({"rois": "0:8,0:8,0:8 nm"}, "a box is one of a volume"),
        ({"volume": "a", "output_grid": "crop"}, "no grid of its own"),
        ({"checkpoint": "gone.pth"}, "gone.pth"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(world, multiples, monkeypatch, changes, words):
    monkeypatch.setattr(BlockJob, "__call__", lambda *_: pytest.fail("a block was computed"))
    with pytest.raises(Exception, match=words) as caught:
        predict(multiples, config=world.config, **{**AS_IS, **changes})
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, ExistingOutputError)


@pytest.mark.parametrize(("factor", "told"), [(1, False), (255, True)])
def test_floats_that_are_not_scaled_are_told_in_the_plan(world, multiples, factor, told):
    grid = open_volume(world.config.path("raw", dataset="a")).levels[0].grid
    shutil.rmtree(world.config.path("raw", dataset="a"))
    raw = factor * np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    write_multiscale(world.config.path("raw", dataset="a"), [raw], [grid], chunks=(16, 16, 16))
    plan = plan_prediction(multiples, config=world.config, **AS_IS)
    assert any("is taken to lie in 0 to 1" in line for line in plan.lines) == told
