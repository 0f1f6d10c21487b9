"""MONAI's networks: the numbers are MONAI's, any size works, and without MONAI an error says what to install."""

import sys

import pytest
import torch
from torch.nn import functional

from csc_models import ModelArgumentError, ModelError, create_model, list_models, model_card
from csc_models.checkpoint import load_weights
from csc_models.errors import MissingExtraError

SMALL = {
    "monai_basic_unet3d": {"features": (2, 2, 2, 4, 4, 2)},
    "monai_unet": {"channels": (2, 4, 4), "strides": (2, 2), "num_res_units": 2},
    "monai_swin_unetr": {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 3},
}


def _own(name):
    """MONAI's own network with the same arguments, and the multiple of the sizes that it takes."""
    nets = pytest.importorskip("monai.networks.nets")
    if name == "monai_basic_unet3d":
        return nets.BasicUNet(3, 1, 3, **SMALL[name]), 16
    if name == "monai_unet":
        return nets.UNet(3, 1, 3, **SMALL[name], norm=("instance", {"affine": True})), 4
    return nets.SwinUNETR(in_channels=1, out_channels=3, **SMALL[name]), 32


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("saving", [False, True])
def test_numbers_are_those_of_monai(name, saving):
    own, multiple = _own(name)
    model = create_model(name, n_channels=1, n_classes=3, gradient_checkpointing=saving, **SMALL[name]).eval()
    load_weights(model, own.state_dict())  # the keys of MONAI
    x = torch.rand(1, 1, multiple, 2 * multiple, multiple)
    expected = own.eval()(x)
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)
    by_torch = create_model(name, n_channels=1, n_classes=3, **SMALL[name]).eval()
    by_torch.load_state_dict(own.state_dict())
    torch.testing.assert_close(by_torch(x), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_other_sizes_repeat_the_last_voxels(name):
    own, multiple = _own(name)
    model = create_model(name, n_channels=1, n_classes=3, **SMALL[name]).eval()
    load_weights(model, own.state_dict())
    x = torch.rand(1, 1, multiple - 1, multiple + 1, multiple)
    padded = functional.pad(x, [0, 0, 0, multiple - 1, 0, 1], mode="replicate")
    expected = own.eval()(padded)[:, :, : multiple - 1, : multiple + 1]
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)


class TestWithoutMonai:
    @pytest.fixture(autouse=True)
    def _without_monai(self, monkeypatch):
        for module in ("monai", "monai.networks", "monai.networks.nets"):
            monkeypatch.setitem(sys.modules, module, None)

    @pytest.mark.parametrize("name", SMALL)
    def test_error_says_what_to_install(self, name):
        with pytest.raises(MissingExtraError, match=r'pip install "./packages/csc-models\[monai\]"') as caught:
            create_model(name, n_channels=1, n_classes=3)
        assert isinstance(caught.value, ModelError)
        assert isinstance(caught.value, ImportError)
        with pytest.raises(MissingExtraError):
            model_card(name)

    def test_names_are_listed_all_the_same(self):
        assert sorted(SMALL) == list_models("monai")

    def test_wrong_arguments_are_found_first(self):
        with pytest.raises(ModelArgumentError, match="no argument 'feature'"):
            create_model("monai_swin_unetr", n_channels=1, n_classes=3, feature=24)


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("monai_swin_unetr", {"feature_size": 20}, "multiple of 12"),
        ("monai_swin_unetr", {"window_size": 4}, "window_size=4 is not one of 3, 5, 7"),
        ("monai_swin_unetr", {"dropout": 1.0}, "dropout=1.0"),
        ("monai_unet", {"strides": (2, 2)}, "one more"),
        ("monai_unet", {"strides": (3, 2, 2, 2)}, "1 or 2"),
        ("monai_unet", {"num_res_units": -1}, "num_res_units=-1 must be at least 0"),
        ("monai_basic_unet3d", {"features": (1, 2)}, "features"),
        ("monai_basic_unet3d", {"features": (1, 2, 3, 4, 5, 0)}, "at least 1"),
    ],
)
def test_impossible_numbers_are_named(name, wrong, words):
    with pytest.raises(ModelArgumentError, match=words):
        create_model(name, n_channels=1, n_classes=3, **wrong)
