"""What cannot be predicted is said before anything is computed or written."""

import json
import os
import shutil

import pytest
from torch import nn

from csc_data.blocks import Ledger
from csc_data.errors import CscError, ProblemsError
from csc_data.formats.writing import create_array
from csc_data.storage import room
from csc_models import ModelError
from csc_models.checkpoint import CheckpointDescription, save_checkpoint
from csc_train import plan_prediction, predict
from csc_train.prediction.window.passes import Passes

AS_IS = {"checkpoint": "untrained", "output": "logit", "output_dtype": "float32", "device": "cpu"}


@pytest.fixture
def refused(world, multiples, monkeypatch):
    """Predict what must be refused, and return the one line that is said."""
    monkeypatch.setattr(Passes, "predict", lambda *_: pytest.fail("something was computed"))

    def run(source=None, crops=None, **options):
        before = sorted(world.config.root.rglob("*"))
        with pytest.raises((CscError, ModelError)) as caught:
            predict(multiples if source is None else source, crops, config=world.config, **{**AS_IS, **options})
        assert sorted(world.config.root.rglob("*")) == before
        if isinstance(caught.value, ProblemsError):
            (problem,) = caught.value.problems
            return problem.what
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


@pytest.fixture
def raw(world):
    return world.config.path("raw", dataset="a")


def in_micrometres(raw):
    document = json.loads((raw / ".zattrs").read_text())
    for axis in document["multiscales"][0]["axes"]:
        axis["unit"] = "micrometer"
    (raw / ".zattrs").write_text(json.dumps(document))


def flat(raw):
    shutil.rmtree(raw)
    create_array(raw, shape=(8, 8), dtype="u1", chunks=(8, 8), attributes={"voxel_size": [8, 8], "translation": [0, 0]})


def without_voxel_size(raw):
    shutil.rmtree(raw)
    create_array(raw, shape=(8, 8, 8), dtype="u1", chunks=(8, 8, 8))


def half_converted(raw):
    Ledger(raw.with_name(".convert-1.s0.ledger"), {"volumes": [raw.name]}).start()


def not_fetched(raw):
    for chunks in (raw / "s0").iterdir():
        if chunks.is_dir():
            shutil.rmtree(chunks)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shutil.rmtree, "there is no raw data for it"),
        (not_fetched, "has none of the 1 chunks that hold it; fetch them"),
        (half_converted, "fibsem-uint8 is not finished; run what writes it again"),
        (in_micrometres, "it lies beside the raw data"),
        (flat, "expected three lengths in nm"),
        (without_voxel_size, "its place in nm is unknown"),
    ],
)
def test_raw_that_cannot_be_read(refused, raw, change, words):
    change(raw)
    assert words in refused(crops=["1"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"crops": ["zz*"]}, "there is no crop zz*: the test crops are crop1, crop2"),
        ({"crops": []}, "no crop is asked for"),
        ({"volume": "a", "rois": ["90000:91000,0:100,0:100 nm"]}, "lies outside: it is z 90000:91000"),
        ({"volume": "a", "rois": ["300:200,:,: nm"]}, "is empty: along each axis it must end behind its begin"),
        ({"volume": "a", "rois": ["3-4"]}, "'3-4' is not a box; write z0:z1,y0:y1,x0:x1"),
        ({"volume": "b"}, "there is no volume b"),
        ({"classes_to_write": ["mitto"]}, "the network has no class mitto: did you mean mito?"),
    ],
)
def test_regions_and_classes_that_there_are_not(refused, asked, words):
    assert words in refused(**asked)


def test_checkpoints_that_are_none(refused, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    file = folder / "x.pth"
    as_trained = {"checkpoint": None}
    assert "there is no checkpoint or experiment file" in refused(file, **as_trained)
    assert "there is no checkpoint or experiment file" in refused(folder, **as_trained)
    arrays = {"shape": [8, 8, 8], "scale": [8, 8, 8]}
    description = CheckpointDescription(
        classes=("mito",), input_arrays={"input": arrays}, target_arrays={"output": arrays}, raw_range=(0, 1)
    )
    save_checkpoint(file, nn.Conv3d(1, 1, 3), description=description)
    assert "the weights do not fit the network" in refused(checkpoint=str(file))
    whole = file.read_bytes()
    for cut in (whole[: len(whole) // 2], b"abc", b""):
        file.write_bytes(cut)
        assert "cannot be read: it is truncated" in refused(file, **as_trained)


def test_places_that_cannot_be_written_to(refused, world, monkeypatch):
    (world.config.root / "predictions").write_text("mine")
    assert "predictions is a file; choose another place" in refused(crops=["1"])
    (world.config.root / "predictions").unlink()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK and allowed(path, mode))
    assert "must not be written to; choose another place" in refused(crops=["1"])


def test_a_disk_without_room(refused, monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda place: 10)
    assert "and 10 B are free at" in refused(crops=["1"])


def test_an_overlap_that_takes_thousands_of_passes_is_said(world, multiples):
    plan = plan_prediction(multiples, ["1"], config=world.config, **{**AS_IS, "overlap": 0.99})
    (note,) = [line for line in plan.lines if "with an overlap of 0.99" in line]
    assert f"512 times, in {plan.estimate.passes:,} passes" in note
    usual = plan_prediction(multiples, ["1"], config=world.config, **{**AS_IS, "overlap": 0.75})
    assert not any("with an overlap" in line for line in usual.lines)
