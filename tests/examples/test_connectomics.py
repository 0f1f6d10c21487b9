"""PyTorch Connectomics both ways, with what stands for it in `stand_ins`."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from csc_models import create_model
from csc_models.checkpoint import load_checkpoint
from csc_train import predict, train

SMALL = {
    "epochs": 1, "iterations_per_epoch": 2, "batch_size": 1, "validation_batch_limit": 1,
    "device": "cpu", "precision": "32-true",
}  # fmt: skip
PATCH = {"shape": (16, 16, 16), "scale": (4, 4, 4)}


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "stand_ins"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "connectomics"]:
        del sys.modules[name]


def test_their_network_trains_here_and_predicts(examples, small_data):
    experiment = examples / "connectomics" / "their_model.py"
    trained = train(experiment, config=small_data, input_array_info=PATCH, **SMALL)
    assert trained.records[0].validation.dice >= 0
    # A checkpoint holds no code of theirs, so the experiment predicts, not the file alone.
    options = {"checkpoint": trained.latest_checkpoint, "device": "cpu", "all_classes": True}
    done = predict(experiment, "validation", config=small_data, output_path="{dataset}/{crop}", **options)
    assert [crop.classes for crop in done.crops] == [("nuc", "mito")]


def test_their_data_trains_a_network_of_ours(examples, tmp_path):
    rng = np.random.default_rng(0)
    for mode in ("train", "val"):
        ids = rng.integers(0, 3, (20, 20, 20), np.uint16)
        np.save(f"{mode}_image.npy", np.where(ids > 0, 200, 20).astype(np.uint8))
        np.save(f"{mode}_label.npy", ids)
        np.save(f"{mode}_mask.npy", np.broadcast_to(np.arange(20) < 10, ids.shape).astype(np.uint8))
    text = (examples / "connectomics" / "their_data.py").read_text("utf-8")
    text = text.replace("_image.h5", "_image.npy").replace(
        '_label.h5"]', '_label.npy"], "mask_paths": ["MODE_mask.npy"]'
    )
    text = text.replace('train_label.npy"], "mask_paths": ["MODE', 'train_label.npy"], "mask_paths": ["train')
    text = text.replace("MODE", "val").replace("(64, 64, 64)", "(16, 16, 16)")
    text = text.replace("batch_size = 2\niterations_per_epoch = 500", "batch_size, iterations_per_epoch = 1, 2")
    experiment = tmp_path / "their_data.py"
    experiment.write_text(text, "utf-8")
    small = {"architecture": "3d_unet_s", "model_kwargs": {"width": 2, "depth": 2}}
    trained = train(experiment, **small, **SMALL)
    assert trained.records[0].validation.dice >= 0
    batch = next(iter(runpy.run_path(str(experiment))["train_loader"]))
    known = ~batch["output"].isnan()
    assert 0.4 < known.float().mean() < 0.7  # what their mask leaves out is unknown
    assert torch.equal(batch["input"][known] > 0.5, batch["output"][known] == 1)


@pytest.mark.filterwarnings(*(f"ignore::{kind}Warning" for kind in ("Future", "User", "Deprecation")))  # Lightning's
def test_our_crops_and_network_train_there(examples, split, tmp_path):
    pytest.importorskip("pytorch_lightning")
    names = runpy.run_path(str(examples / "connectomics" / "our_data_and_network.py"))
    (tmp_path / "theirs.yaml").write_text("max_epochs: 2")
    network = create_model("3d_unet_s", n_channels=1, n_classes=2, width=2, depth=2)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    seen = []
    names["ConnectomicsModule"].on_train_end = lambda module: seen.extend(module.seen)
    names["train"]("theirs.yaml", split, network, patch=PATCH, batch_size=1, iterations_per_epoch=2)
    assert any(not torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
    assert len(set(seen)) == 4  # two epochs of two samples, all of them different
    loaded = load_checkpoint("from_connectomics.pth")
    assert loaded.description.classes == ("nuc", "mito")
