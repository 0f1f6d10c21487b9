"""Parts of the toolbox in other programs: scores of arrays, a bucket, Lightning, MONAI."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from csc_data import read_datasplit
from csc_models import create_model
from csc_train import predict, train

PATCH = {"shape": (16, 16, 16), "scale": (4, 4, 4)}
SMALL = {"width": 2, "depth": 2}


def load(examples, name):
    return runpy.run_path(str(examples / "library" / f"{name}.py"))


def test_arrays_are_scored_as_the_leaderboard_does(examples):
    names = load(examples, "score_arrays")
    truth = np.zeros((8, 16, 16), np.uint16)
    truth[2:6, 2:8, 2:8], truth[2:6, 2:8, 8:14] = 1, 2  # touch
    shifted = np.roll(truth > 0, 1, axis=1)
    found = names["score_crops"]({"crop1": {"mito": (truth, truth), "er": (truth > 0, shifted)}})
    assert found.classes["mito"].score == 1
    assert found.classes["er"].score == pytest.approx(5 / 7)  # 6 rows and 6 rows, of which 5 are common
    assert found.overall_score == pytest.approx((5 / 7) ** 0.5)
    merged = names["score_crops"]({"crop1": {"mito": (truth, (truth > 0).astype(np.uint8))}})
    assert merged.classes["mito"].metrics["f1"] == pytest.approx(2 / 3)


def test_score_arrays_is_a_script_that_needs_no_torch(examples):
    code = f"import runpy, sys; runpy.run_path({str(examples / 'library' / 'score_arrays.py')!r}, run_name='__main__')"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "overall  0.661" in done.stdout


@pytest.fixture
def endpoint(small_data, monkeypatch, tmp_path):
    """The address of an S3 server on loopback whose bucket is the data folder."""
    pytest.importorskip("aiohttp")
    (tmp_path / "buckets").mkdir()
    (tmp_path / "buckets" / "crops").symlink_to(small_data.root, target_is_directory=True)
    server = Path(__file__).parents[2] / "packages" / "csc-data" / "tests" / "s3_server.py"
    command = [sys.executable, str(server), str(tmp_path / "buckets")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        address = running.stdout.readline().split('"')[3]
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield address
        running.stdin.close()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_training_streams_from_a_bucket(examples, small_data, endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = replace(small_data, data=str(tmp_path / "empty"), bucket="crops", endpoint=endpoint)
    trained = train(
        examples / "library" / "stream_from_s3.py", config=config, input_array_info=PATCH, architecture="3d_unet_s",
        model_kwargs=SMALL, epochs=1, iterations_per_epoch=2, batch_size=1, validation_batch_limit=1, num_workers=0,
        precision="32-true", device="cpu", classes=("mito", "nuc"),
    )  # fmt: skip
    assert trained.records[0].validation.dice >= 0
    assert all(row.raw.startswith("s3://crops/") for row in read_datasplit("datasplit_s3.csv"))
    raw = "s3://crops/jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1/em/fibsem-uint8"
    box = load(examples, "stream_from_s3")["look"](raw, (8, 8, 8), (4, 4, 4), (4, 4, 4))
    assert box.shape == (4, 4, 4)


@pytest.mark.filterwarnings(*(f"ignore::{kind}Warning" for kind in ("Future", "User", "Deprecation")))  # Lightning's
def test_lightning_trains_and_csc_predicts(examples, submittable, split, tmp_path, monkeypatch):
    lightning = pytest.importorskip("pytorch_lightning")
    monkeypatch.chdir(tmp_path)
    names = load(examples, "train_in_lightning")
    data = names["Samples"](split, PATCH, iterations_per_epoch=2, validation_batch_limit=1)
    model = names["Segmentation"](**SMALL)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", use_distributed_sampler=False, **quiet)
    trainer.fit(model, datamodule=data)
    assert np.isfinite(float(trainer.callback_metrics["loss"]))
    model.save("lightning.pth", PATCH)
    done = predict("lightning.pth", config=submittable, device="cpu")
    assert [crop.classes for crop in done.crops] == [("mito",)]  # of mito and er, what is scored in the test crop


def test_monai_trains_validates_and_predicts(examples, split):
    pytest.importorskip("monai")
    names = load(examples, "train_in_monai")
    loaders = names["get_dataloader"](
        split, names["CLASSES"], input_array_info=PATCH, iterations_per_epoch=2, validation_batch_limit=2
    )
    network = create_model("3d_unet_s", n_channels=1, n_classes=2, **SMALL)
    (score,) = names["train"](network, loaders, epochs=1)
    assert 0 <= score <= 1
    raw = np.random.default_rng(0).integers(0, 255, (24, 20, 16), np.uint8)
    probabilities = names["predict"](network, raw, PATCH)
    assert probabilities.shape == (2, 24, 20, 16)
    assert 0 < probabilities.min() < probabilities.max() < 1
