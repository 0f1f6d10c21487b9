import dataclasses
import hashlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from csc_data.blocks import Ledger
from csc_data.challenge import TestCrop
from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import FILE_NAME, write_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, MissingDataError, ProblemsError, UnreadableDataError
from csc_data.geometry import Grid
from csc_data.loader import ArrayInfo
from csc_data.volumes import open_volume, write_multiscale
from csc_data.volumes.stored_values import StoredValues
from csc_models import CheckpointNotFoundError
from csc_models.checkpoint import CheckpointDescription, save_checkpoint
from csc_train import IncompletePredictionError, NoCheckpointError, TrainSettings, predict, train
from csc_train.prediction.blocks import reading
from csc_train.prediction.blocks.job import BlockJob

RAW = Grid(voxel_size=(8, 8, 8), translation=(100.0, 204.0, 308.0), shape=(30, 34, 38))


class Identity(nn.Module):
    """Gives its input back, and twice it as a second class; cuts a margin off, as networks without padding do."""

    def __init__(self, margin=0):
        super().__init__()
        self.margin = margin
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        for axis in range(2, x.ndim):
            x = x.narrow(axis, self.margin, x.shape[axis] - 2 * self.margin)
        return torch.cat([x, 2 * x], dim=1) * self.weight


def info(shape, scale=(8, 8, 8)):
    return ArrayInfo(shape=tuple(shape), scale=tuple(float(s) for s in scale))


def make_folder(root, crops, raw=None, grid=RAW):
    """A data folder with raw and test crops (begin and shape in voxels of raw)."""
    place = Config(data=str(root))
    if raw is None:
        raw = np.random.default_rng(0).integers(0, 256, grid.shape).astype(np.uint8)
    write_multiscale(place.path("raw", dataset="a"), [raw], [grid], chunks=(16, 16, 16))
    tests = []
    for number, (begin, shape) in enumerate(crops, start=1):
        window = grid.window(begin, shape)
        tests.append(
            TestCrop(
                id=number,
                dataset="a",
                voxel_size=window.voxel_size,
                translation=window.translation,
                shape=window.shape,
                classes=("mito", "ld"),
            )
        )
    write_test_crops(root / FILE_NAME, tests)
    return place, raw


def experiment(**changes):
    given_settings = {
        "classes": ("mito", "ld"),
        "model": Identity(),
        "input_array_info": info((8, 8, 8)),
        "raw_range": (0.0, 255.0),
        **changes,
    }
    return TrainSettings(**given_settings)


AS_IS = {"checkpoint": "untrained", "output": "logit", "output_dtype": "float32", "device": "cpu"}


def read(place, crop, name="mito", dataset="a"):
    return open_volume(place.path("predictions", dataset=dataset, crop=crop, class_name=name))


def digest(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".ledger"
    }


sizes = st.tuples(*[st.integers(1, 13)] * 3)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("identity")


@given(
    begin=st.tuples(*[st.integers(0, 9)] * 3),
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    kept=sizes.filter(lambda kept: kept[0] > 1),
    halo=st.tuples(*[st.integers(0, 3)] * 3),
    margin=st.integers(0, 2),
    chunks=st.none() | sizes,
    batch=st.integers(1, 5),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_identity_network_gives_back_its_input(shared_folder, begin, shape, kept, halo, margin, chunks, batch):
    """Bit for bit, each voxel once, for any crop, patch, halo, context, chunks and batches."""
    shutil.rmtree(shared_folder)
    shared_folder.mkdir()
    place, raw = make_folder(shared_folder, [(begin, shape)])
    target = [k + 2 * h for k, h in zip(kept, halo, strict=True)]
    result = predict(
        experiment(
            model=Identity(margin),
            input_array_info=info([n + 2 * margin for n in target]),
            target_array_info=info(target),
        ),
        config=place,
        halo=halo,
        output_chunks=chunks,
        batch_size=batch,
        **AS_IS,
    )
    expected = raw[tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))].astype(np.float32)
    for name, factor in (("mito", 1), ("ld", 2)):
        volume = read(place, "crop1", name)
        assert volume.levels[0].grid == load_test_crops(place)[1].grid
        np.testing.assert_array_equal(volume.levels[0].array[...], expected * factor)
    assert result.crops[0].shape == shape


@pytest.mark.parametrize("patch", [(1, 9, 12), (1, 40, 5), (1, 7, 7)])
def test_flat_networks_predict_the_planes_of_all_axes(tmp_path, patch):
    class Neighbour(nn.Module):
        """Shows the neighbour before along the first axis of a plane, and the one after along the second."""

        def forward(self, x):
            assert x.ndim == 4
            return torch.cat([torch.roll(x, 1, 2), torch.roll(x, -1, 3)], dim=1)

    place, raw = make_folder(tmp_path, [((4, 5, 6), (11, 12, 13))])
    settings = experiment(model=Neighbour(), input_array_info=info(patch))
    predict(settings, config=place, halo=(0, 1, 1), **AS_IS)

    def shifted(dz, dy, dx):
        return raw[4 + dz : 15 + dz, 5 + dy : 17 + dy, 6 + dx : 19 + dx].astype(np.float64)

    # Planes across z hold (y, x), across y (z, x), across x (z, y).
    first = (shifted(0, -1, 0) + shifted(-1, 0, 0) + shifted(-1, 0, 0)) / 3
    second = (shifted(0, 0, 1) + shifted(0, 0, 1) + shifted(0, 1, 0)) / 3
    np.testing.assert_allclose(read(place, "crop1", "mito").levels[0].array[...], first, atol=1e-3)
    np.testing.assert_allclose(read(place, "crop1", "ld").levels[0].array[...], second, atol=1e-3)


def test_probabilities_fill_a_byte_and_say_so(tmp_path):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    predict(experiment(raw_range=(-4.0, 4.0)), config=place, checkpoint="untrained", device="cpu")
    logit = raw[:9, :9, :9] * (8 / 255) - 4
    volume = read(place, "crop1")
    stored = volume.levels[0].array[...]
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(stored, 255 / (1 + np.exp(-logit)), atol=0.51)
    meaning = StoredValues.from_attributes(volume.attributes)
    assert meaning == StoredValues(kind="probability", one=255)
    clear = np.abs(logit) > 0.02
    np.testing.assert_array_equal((stored > meaning.stored_threshold(0.5))[clear], (logit > 0)[clear])


@pytest.mark.parametrize(("output", "dtype"), [("logit", "float16"), ("probability", "float32")])
def test_other_outputs(tmp_path, output, dtype):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    predict(experiment(raw_range=(-4.0, 4.0)), config=place, checkpoint="untrained", output=output, output_dtype=dtype)
    volume = read(place, "crop1")
    assert volume.levels[0].dtype == dtype
    assert StoredValues.from_attributes(volume.attributes) == StoredValues(kind=output, one=1)
    logit = raw[:9, :9, :9] * (8 / 255) - 4
    expected = logit if output == "logit" else 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(volume.levels[0].array[...], expected, atol=3e-3)


SLOPE = np.array([0.0007, 0.0011, 0.0013])


def linear(grid):
    axes = [grid.centres(axis).reshape([-1 if a == axis else 1 for a in range(3)]) for axis in range(3)]
    origin = RAW.translation
    return sum(s * (p - o) for s, p, o in zip(SLOPE, axes, origin, strict=True)).astype(np.float32)


@pytest.mark.parametrize("stored", [(5.24, 4, 4), (3.24, 4, 4), (8, 8, 8), (2, 10, 6)])
def test_the_output_lies_where_the_raw_was(tmp_path, stored):
    """Whatever the voxel size of the data: on a linear function of nm the identity gives the function back."""
    grid = Grid(voxel_size=stored, translation=RAW.translation, shape=(60, 50, 55))
    place, _ = make_folder(tmp_path, [((8, 9, 10), (30, 31, 33))], raw=linear(grid), grid=grid)
    predict(experiment(raw_range=(0.0, 1.0), input_array_info=info((10, 12, 14))), config=place, **AS_IS)
    level = read(place, "crop1").levels[0]
    bounds = load_test_crops(place)[1].grid.bounds
    assert level.grid.bounds.contains(bounds, tolerance_nm=1e-6)
    assert all(t - b <= 4 + 1e-6 for t, b in zip(level.grid.translation, bounds.begin, strict=True))
    np.testing.assert_allclose(level.array[...], linear(level.grid), atol=1e-4)


def test_inputs_may_be_coarser_than_targets(tmp_path):
    class Upsampled(nn.Module):
        def forward(self, x):
            return torch.cat([nn.functional.interpolate(x, scale_factor=2)] * 2, dim=1)

    place, _ = make_folder(tmp_path, [((8, 8, 8), (13, 14, 15))], raw=linear(RAW))
    settings = experiment(
        model=Upsampled(),
        raw_range=(0.0, 1.0),
        input_array_info=info((6, 6, 6), (16, 16, 16)),
        target_array_info=info((12, 12, 12)),
    )
    predict(settings, config=place, halo=(2, 2, 2), **AS_IS)
    level = read(place, "crop1").levels[0]
    np.testing.assert_allclose(level.array[...], linear(level.grid), atol=4 * SLOPE.sum() + 1e-4)


def test_a_crop_at_the_edge_of_the_raw_sees_a_mirror(tmp_path):
    class Before(nn.Module):
        """The voxel before along z."""

        def forward(self, x):
            return torch.cat([torch.roll(x, 1, 2)] * 2, dim=1)

    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    predict(experiment(model=Before()), config=place, halo=(2, 0, 0), **AS_IS)
    expected = np.concatenate([raw[:1, :9, :9], raw[:8, :9, :9]])
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], expected)


def test_a_checkpoint_alone_predicts_as_its_experiment_does(data_folder, tmp_path):
    settings = TrainSettings(
        classes=("mito", "ld"),
        datasplit_path=data_folder.config.path("datasplit"),
        input_array_info=info((16, 16, 16)),
        architecture="3d_unet_s",
        model_name="run",
        model_kwargs={"width": 2, "depth": 2},
        epochs=2,
        iterations_per_epoch=2,
        batch_size=1,
        raw_range=(-1.0, 1.0),
        validation_batch_limit=1,
        model_save_path=str(tmp_path / "{model_name}_{epoch}.pth"),
        logs_save_path=str(tmp_path / "logs"),
        device="cpu",
    )
    with pytest.raises(NoCheckpointError, match="run_"):
        predict(settings, config=data_folder.config)
    trained = train(settings)
    place = dataclasses.replace(data_folder.config, predictions="p1/{dataset}.zarr/{crop}/{class_name}")
    first = predict(settings, config=place)
    assert first.checkpoint == trained.best_checkpoint
    other = dataclasses.replace(place, predictions="p2/{dataset}.zarr/{crop}/{class_name}")
    second = predict(trained.best_checkpoint, config=other)
    assert second.classes == ("mito", "ld")
    assert digest(data_folder.root / "p1") == digest(data_folder.root / "p2")
    plans = []
    latest = predict(
        settings, config=place, checkpoint="latest", existing="overwrite", crops=["901"], on_plan=plans.append
    )
    [record] = plans[0].record.checkpoints
    assert (record.file, record.epoch, record.metric) == ("run_2.pth", 2, "iou")
    assert 0 <= record.value <= 1
    assert latest.checkpoint == trained.latest_checkpoint
    assert [crop.crop for crop in latest.crops] == ["crop901"]


def test_a_checkpoint_that_stores_no_rule_needs_one(tmp_path):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    torch.save(Identity().state_dict(), tmp_path / "foreign.pth")
    settings = experiment()
    with pytest.raises(InvalidArgumentError, match="raw_range"):
        predict(settings, config=place, checkpoint=tmp_path / "foreign.pth")
    plain = {**AS_IS, "checkpoint": tmp_path / "foreign.pth"}
    predict(settings, config=place, raw_range=(0, 255), **plain)
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:9, :9, :9])


def test_a_checkpoint_of_other_classes_is_an_error(tmp_path):
    place, _ = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    description = CheckpointDescription(
        classes=("ld", "mito"), input_arrays={"raw": info((8, 8, 8)).to_plain()}, raw_range=(0.0, 1.0)
    )
    save_checkpoint(tmp_path / "x.pth", Identity(), description=description)
    with pytest.raises(InvalidArgumentError, match="ld, mito"):
        predict(experiment(), config=place, checkpoint=tmp_path / "x.pth")


def test_existing_output_is_resumed_refused_or_overwritten(tmp_path):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (20, 20, 20))])
    arguments = {"config": place, **AS_IS}
    first = predict(experiment(), **arguments)
    again = predict(experiment(), **arguments)
    assert again.crops[0].resumed_blocks == again.crops[0].blocks == first.crops[0].blocks > 1
    with pytest.raises(IncompletePredictionError, match="holds output"):
        predict(experiment(), existing="refuse", **arguments)
    with pytest.raises(IncompletePredictionError, match=r"halo \[0, 0, 0\] then, \[2, 2, 2\] now"):
        predict(experiment(), halo=(2, 2, 2), **arguments)
    assert predict(experiment(), halo=(2, 2, 2), existing="overwrite", **arguments).crops[0].resumed_blocks == 0
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:20, :20, :20])
    for ledger in (tmp_path / "predictions").rglob("*.ledger"):
        ledger.unlink()
    with pytest.raises(IncompletePredictionError, match="of another program"):
        predict(experiment(), **arguments)
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:20, :20, :20])


def test_a_run_that_died_before_its_first_block_is_begun_anew(tmp_path, monkeypatch):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])

    def die(self):
        start(self)
        raise KeyboardInterrupt

    start = Ledger.start
    monkeypatch.setattr(Ledger, "start", die)
    with pytest.raises(KeyboardInterrupt):
        predict(experiment(), config=place, **AS_IS)
    monkeypatch.undo()
    predict(experiment(), config=place, **AS_IS)
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:9, :9, :9])


def test_crops_without_raw_are_named_and_the_others_done(tmp_path):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9)), ((1, 1, 1), (9, 9, 9))])
    crops = list(load_test_crops(place).values())
    crops[0] = dataclasses.replace(crops[0], dataset="elsewhere")
    write_test_crops(tmp_path / FILE_NAME, crops)
    events = []
    with pytest.raises(IncompletePredictionError, match="elsewhere/crop1: there is no raw data") as caught:
        predict(experiment(), config=place, progress=events.append, **AS_IS)
    assert [crop.crop for crop in caught.value.result.crops] == ["crop2"]
    np.testing.assert_array_equal(read(place, "crop2").levels[0].array[...], raw[1:10, 1:10, 1:10])
    assert {(event.crop, event.number, event.crops) for event in events} == {("crop2", 1, 1)}
    assert events[-1].done == events[-1].blocks


def test_a_damaged_chunk_is_named_and_the_crop_can_be_done_later(tmp_path):
    place, raw = make_folder(tmp_path, [((0, 0, 0), (30, 30, 30))])
    chunk = place.path("raw", dataset="a") / "s0" / "1" / "1" / "1"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:40])
    narrow = experiment(input_array_info=info((8, 4, 4)))  # so that the first block does not need that chunk
    with pytest.raises(IncompletePredictionError, match=r"blocks are not finished.*is damaged"):
        predict(narrow, config=place, **AS_IS)
    chunk.write_bytes(whole)
    result = predict(narrow, config=place, **AS_IS)
    assert result.crops[0].resumed_blocks > 0
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:30, :30, :30])


@pytest.mark.parametrize("failures", [1, 2])
def test_a_block_that_fails_for_a_while_is_done_again(tmp_path, monkeypatch, failures):
    """A failure to read, and one to write, in the midst of the blocks: all voxels are right in the end."""
    place, raw = make_folder(tmp_path, [((0, 0, 0), (30, 30, 30))])
    real_read, real_write = reading.RawSource.read, BlockJob.__call__
    read_calls, write_calls = [], []

    def failing_read(*arguments, **options):
        read_calls.append(1)
        if 7 <= len(read_calls) < 7 + failures:
            raise UnreadableDataError("gone for a while")
        return real_read(*arguments, **options)

    def failing_write(self, block):
        real_write(self, block)
        write_calls.append(block.index)
        if len(write_calls) in (4, 5)[:failures]:
            raise OSError("full for a while")

    monkeypatch.setattr(reading.RawSource, "read", failing_read)
    monkeypatch.setattr(BlockJob, "__call__", failing_write)
    predict(experiment(), config=place, batch_size=3, **AS_IS)
    np.testing.assert_array_equal(read(place, "crop1").levels[0].array[...], raw[:30, :30, :30])
    assert len(write_calls) > len(set(write_calls))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"halo": (4, 1, 1)}, InvalidArgumentError, "halo of 4 leaves nothing"),
        ({"patch_shape": (1, 16, 16)}, InvalidArgumentError, "flat"),
        ({"batchsize": 3}, ProblemsError, "did you mean batch_size"),
        ({"output": "probabilities"}, ProblemsError, "'probability'"),
        ({"checkpoint": "nowhere.pth"}, CheckpointNotFoundError, "nowhere.pth"),
    ],
)
def test_mistakes_are_told(tmp_path, changes, error, words):
    place, _ = make_folder(tmp_path, [((0, 0, 0), (9, 9, 9))])
    given_settings = {"checkpoint": "untrained", **changes}
    with pytest.raises(error, match=words):
        predict(experiment(), config=place, **given_settings)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"gone\.pth"):
        predict(tmp_path / "gone.pth", config=Config(data=str(tmp_path)))


SLOW = """
import time
import torch
from csc_data.loader import ArrayInfo
from torch import nn

class Slow(nn.Module):
    def forward(self, x):
        time.sleep({delay})
        return torch.sin(x * 20)

classes = ["mito"]
model = Slow()
input_array_info = {{"shape": (8, 8, 8), "scale": (8, 8, 8)}}
batch_size = 4
halo = (1, 1, 1)
checkpoint = "untrained"
device = "cpu"
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    place, _ = make_folder(tmp_path, [((0, 0, 0), (30, 30, 30)), ((2, 3, 4), (25, 25, 25))])
    file = tmp_path / "experiment.py"
    file.write_text(textwrap.dedent(SLOW.format(delay=0.02)))
    code = (
        "from csc_train import predict; from csc_data.config.user_config import Config; "
        f"predict({str(file)!r}, config=Config(data={str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code])
    crop = tmp_path / "predictions" / "a.zarr" / "crop1"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and finished(crop) < 3:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = finished(crop)
    assert 3 <= done < 18
    file.write_text(textwrap.dedent(SLOW.format(delay=0)))
    result = predict(file, config=place)
    assert result.crops[0].resumed_blocks == done
    unbroken = dataclasses.replace(place, predictions="unbroken/{dataset}.zarr/{crop}/{class_name}")
    predict(file, config=unbroken)
    assert digest(tmp_path / "predictions") == digest(tmp_path / "unbroken")


def finished(crop: Path) -> int:
    """Count the blocks that the processes of a run have recorded."""
    return sum(path.read_text().count("\n") for path in crop.glob(".*.ledger.runs/*.done"))
