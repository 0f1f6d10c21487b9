"""Arrays: equal to MONAI's sliding window, whatever the array is kept in."""

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription
from csc_models.export import Trial, to_torchscript
from csc_train import plan_prediction, predict_array
from csc_train.prediction.window.weights import MONAI_LEAST, window_weights

RAW = np.random.default_rng(0).random((41, 50, 37)).astype(np.float32)


class Noisy(nn.Module):
    """Says something else of a voxel in each window that it lies in."""

    def forward(self, x):
        mean = x.mean((2, 3, 4), keepdim=True)
        z = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1, 1)
        return torch.cat([4 * (x - 0.5) + 300 * (mean - 0.5) * z, 3 * torch.roll(x, 2, 4) - 1], dim=1)


def by_monai(network, raw, patch, **options):
    """Blend as MONAI does; with our weights, where no others are asked for."""
    if options["mode"] == "gaussian":
        options["roi_weight_map"] = torch.tensor(window_weights(patch, "gaussian"))
    with torch.no_grad():
        given = torch.from_numpy(raw)[None, None]
        return sliding_window_inference(given, patch, 3, lambda x: torch.sigmoid(network(x)), **options)[0].numpy()


@pytest.mark.parametrize("patch", [(16, 16, 16), (13, 50, 20), (1, 9, 12)])
def test_weights_are_those_of_monai_but_for_the_least(patch):
    theirs = compute_importance_map(patch, mode="gaussian").numpy()
    np.testing.assert_allclose(window_weights(patch, "gaussian", MONAI_LEAST), theirs, rtol=1e-5)
    ours = window_weights(patch, "gaussian")
    np.testing.assert_allclose(ours[theirs > MONAI_LEAST], theirs[theirs > MONAI_LEAST], rtol=1e-5)
    assert ours.min() > 0
    assert (window_weights(patch, "constant") == 1).all()


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("patch", [(16, 16, 16), (13, 50, 20)])
def test_equal_to_monai(mode, overlap, patch):
    ours = predict_array(Noisy(), RAW, patch_shape=patch, overlap=overlap, blending=mode, batch_size=4, device="cpu")
    theirs = by_monai(Noisy(), RAW, patch, overlap=overlap, mode=mode)
    assert ours.shape == (2, *RAW.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    alone = by_monai(Noisy(), RAW, patch, overlap=0, mode="constant")
    assert np.abs(ours - alone).max() > 0.01  # it does matter


def test_equal_to_monai_with_a_real_network():
    torch.manual_seed(0)
    network = create_model("3d_unet_s", n_channels=1, n_classes=2, width=2, depth=2)
    ours = predict_array(network.train(), RAW, patch_shape=(16, 16, 16), overlap=0.5, device="cpu")
    assert network.training
    theirs = by_monai(network.eval(), RAW, (16, 16, 16), overlap=0.5, mode="gaussian")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


AS_IS = {"patch_shape": (8, 8, 8), "output": "logit", "device": "cpu"}


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float16", "float64", "int32"])
def test_values_are_scaled_from_their_type(dtype):
    kind = np.dtype(dtype).kind
    raw = (RAW[:9, :10, :11] * (1 if kind == "f" else 100)).astype(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if kind != "f" else (0, 1)
    expected = 2 * (raw.astype(np.float64) - low) / (float(high) - low)
    np.testing.assert_allclose(predict_array(Double(), raw, **AS_IS)[0], expected, rtol=1e-3)


def test_arrays_that_are_read_by_slices(tmp_path):
    import dask.array
    import zarr

    raw = (RAW * 255).astype(np.uint8)
    expected = predict_array(Double(), raw, **AS_IS)
    stored = zarr.open_array(str(tmp_path / "a.zarr"), mode="w", shape=raw.shape, chunks=(8, 8, 8), dtype="u1")
    stored[...] = raw
    np.save(tmp_path / "a.npy", raw)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for each in (stored, mapped, dask.array.from_array(raw, chunks=16)):
        np.testing.assert_array_equal(predict_array(Double(), each, **AS_IS), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 30, 2), (8, 8, 8)])
def test_small_arrays_are_mirrored(shape):
    raw = RAW[tuple(slice(n) for n in shape)]
    np.testing.assert_array_equal(predict_array(Double(), raw, **AS_IS)[0], 2 * raw)


def test_progress_counts_planes():
    seen = []
    predict_array(Double(), RAW, progress=lambda done, all_: seen.append((done, all_)), **AS_IS)
    assert seen[-1] == (41, 41)
    assert len(seen) > 3
    assert seen == sorted(set(seen))


def test_another_voxel_size_is_interpolated():
    z = np.arange(20, dtype=np.float32).reshape(-1, 1, 1) + np.zeros((20, 16, 16), np.float32)
    ours = predict_array(Double(), z / 100, voxel_size=(4, 4, 4), **AS_IS)
    assert ours.shape == (1, 20, 16, 16)


@pytest.mark.parametrize(
    ("array", "changes", "words"),
    [
        (np.zeros((3, 4)), {}, r"\(z, y, x\)"),
        (np.zeros((3, 4, 0)), {}, "non-empty"),
        (np.zeros((3, 4, 5), bool), {}, "numbers"),
        ([[[1]]], {}, "shape and a dtype"),
        (RAW, {"patch_shape": None}, "needs patch_shape"),
    ],
)
def test_mistakes_are_told(array, changes, words):
    with pytest.raises(InvalidArgumentError, match=words):
        predict_array(Double(), array, **{**AS_IS, **changes})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tta", [False, "mirror"])
def test_a_network_that_gives_no_number_is_an_error(bad, tta):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x == x.max(), bad, x)

    with pytest.raises(ArithmeticError, match=r"NaN or infinity in block 0 of the array"):
        predict_array(Broken(), RAW, patch_shape=(8, 8, 8), device="cpu", tta=tta)


def test_all_channels_where_there_are_several_per_class():
    network = nn.Conv3d(1, 7, 1)
    assert predict_array(network, RAW, patch_shape=(16, 16, 16), device="cpu").shape == (7, *RAW.shape)


def test_what_is_applied_to_raw_ahead_of_the_network():
    once = predict_array(Double(), RAW, **AS_IS)
    found = predict_array(Double(), RAW, value_transforms=lambda patch: patch.clamp(0.2, 0.8) - 1, **AS_IS)
    np.testing.assert_allclose(found, once.clip(0.4, 1.6) - 2, rtol=1e-6)


def test_a_network_is_compiled_if_asked(monkeypatch):
    calls = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: calls.append(self))
    predict_array(Double(), RAW, **AS_IS)
    assert not calls
    network = Double()
    predict_array(network, RAW, compile=True, **AS_IS)
    assert calls == [network]


def test_a_network_has_all_threads_and_blending_takes_none_of_them():
    seen = {"network": set(), "beside": set()}

    class Watched(nn.Module):
        def forward(self, x):
            seen["network"].add(torch.get_num_threads())
            return x

    torch.set_num_threads(3)
    predict_array(Watched(), RAW, progress=lambda *_: seen["beside"].add(torch.get_num_threads()), **AS_IS)
    assert seen == {"network": {3}, "beside": {1}}
    assert torch.get_num_threads() == 3


def test_networks_that_give_back_their_input_itself():
    """Its memory is that of the next patches."""
    found = predict_array(nn.Identity(), RAW, batch_size=2, **AS_IS)
    np.testing.assert_array_equal(found[0], RAW)


def test_half_precision_comes_close():
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1)
    full = predict_array(network, RAW, patch_shape=(16, 16, 16), device="cpu")
    half = predict_array(network, RAW, patch_shape=(16, 16, 16), device="cpu", precision="bf16-mixed")
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.01


def test_an_exported_file_predicts_as_its_network(tmp_path, data_folder):
    network = torch.nn.Conv3d(1, 2, 3, padding=1).requires_grad_(False)
    info = {"raw": {"shape": (8, 8, 8), "scale": (8, 8, 8)}}
    described = CheckpointDescription(classes=("mito", "er"), input_arrays=info, raw_range=(0.0, 1.0))
    path = tmp_path / "network.pt"
    to_torchscript(network, path, description=described, trial=Trial(shape=(2, 1, 8, 8, 8)))
    raw = np.random.default_rng(0).integers(0, 256, (9, 12, 11)).astype(np.uint8)
    expected = predict_array(network, raw, patch_shape=(8, 8, 8), device="cpu")
    np.testing.assert_allclose(predict_array(path, raw, device="cpu"), expected, atol=1e-6)
    plan = plan_prediction(path, ["902"], config=data_folder.config, device="cpu")
    assert [made_with.file for made_with in plan.record.checkpoints] == ["network.pt"]


@pytest.mark.parametrize(("values", "told"), [(RAW, False), (255 * RAW, True), (RAW - 1, True), (RAW + 0.4, False)])
def test_floats_that_do_not_lie_in_0_to_1_are_told(values, told, caplog):
    predict_array(Double(), values.astype(np.float32), **AS_IS)
    assert ("is taken to lie in 0 to 1" in caplog.text) == told
    if told:
        assert "csc convert --range" in caplog.text
