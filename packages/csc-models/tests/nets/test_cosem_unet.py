"""The COSEM networks: as published, the same wherever the patch lies, and other heads.

`data/published_cosem_unets.json` holds outputs of cellmap-models 0.2.4 for weights by formula.
"""

import importlib
import json
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from csc_models import CheckpointMismatchError, ModelArgumentError, create_model, describe_model, model_card
from csc_models.checkpoint import load_checkpoint, load_weights, save_checkpoint
from csc_models.nets.cosem_unet import CosemUNet

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "published_cosem_unets.json").read_text())
CLASSES = {"04": 14, "26.1": 3, "28": 2, "36": 2, "45": 2}
SMALL = {"features": (2, 3, 4), "factors": (2, 3)}


@pytest.fixture
def small():
    return vivid(create_model("cosem_setup04", **SMALL).eval())


def vivid(model):
    """Give a network weights with which its outputs vary as much as its inputs."""
    for weights in model.parameters():
        if weights.ndim > 1:
            nn.init.kaiming_normal_(weights)
    return model


def as_published(model):
    """The state dict of a network with the keys of the published files."""
    state = {}
    for key, value in model.state_dict().items():
        published = key.replace("backbone.", "architecture.unet.", 1)
        state[published] = value
        part = published.replace("architecture.", "chain.0.", 1).replace("prediction_head.", "chain.1.", 1)
        state[part] = value.clone()
    return state


class TestAsPublished:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_outputs_for_weights_by_formula(self, name, weights_by_formula, input_by_formula):
        expected = PUBLISHED[name]
        model = create_model(f"cosem_setup{expected['setup']}", **expected["arguments"]).eval()
        assert sorted(model.state_dict()) == expected["keys"]
        model.load_state_dict(weights_by_formula(model.state_dict()))
        with torch.no_grad():
            output = model(input_by_formula(expected["input_shape"]))
        assert list(output.shape) == expected["output_shape"]
        samples = output.flatten()[expected["index"]]
        assert len(samples.unique()) > 4
        torch.testing.assert_close(samples, torch.tensor(expected["value"]), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("setup", CLASSES)
    def test_random_weights_give_what_the_published_package_gives(self, setup, monkeypatch):
        port = vivid(_port(setup, monkeypatch))
        model = create_model(
            f"cosem_setup{setup}", features=tuple(port.feature_widths_down), upsampling_relu=False
        ).eval()
        model.load_state_dict(port.state_dict(), strict=True)
        x = torch.rand(1, 1, 198, 198, 216) * 2 - 1
        with torch.no_grad():
            expected = port(x)
            torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)
        assert expected.std() > 0.01

    def test_size_and_parameters(self):
        card = model_card("cosem_setup04")
        assert card.parameters == 234_967_826
        assert card.output_shape((216, 216, 216)) == (68, 68, 68)
        assert card.output_shape((234, 252, 216)) == (104, 140, 68)
        assert card.output.scale_factor == 2
        assert model_card("cosem_setup45").output_shape((216, 216, 216)) == (32, 32, 32)

    def test_each_setup_has_its_classes(self):
        assert {name: model_card(f"cosem_setup{name}").arguments["n_classes"] for name in CLASSES} == CLASSES


def _port(setup, monkeypatch):
    """The network of the published package, with few features."""
    package = "cellmap_models.pytorch.cosem"
    loader = pytest.importorskip(f"{package}.load_model", exc_type=ImportError)
    # Building it runs it once, to find its sizes.
    monkeypatch.setattr(loader.Architecture, "compute_minimal_shapes", lambda self: None)
    module = importlib.import_module(f"{package}.setup{setup.replace('.', '_')}.model")
    known = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "np"}
    few = {"feature_widths_down": [2, 5, 6, 7], "feature_widths_up": [5, 5, 6, 7], "final_feature_width": 5}
    return loader.Architecture(types.SimpleNamespace(**{**known, **few})).eval()


class TestValidConvolutions:
    def test_a_patch_says_the_same_wherever_it_lies(self, small):
        step = model_card("cosem_setup04", **SMALL).sizes.step
        edge = model_card("cosem_setup04", **SMALL).sizes.minimum
        x = torch.rand(1, 1, edge, edge, edge + 4 * step)
        with torch.no_grad():
            whole = small(x)
            for begin in range(0, 5 * step, step):
                part = small(x[..., begin : begin + edge])
                place = whole[..., 2 * begin : 2 * begin + part.shape[-1]]
                torch.testing.assert_close(part, place, atol=1e-5, rtol=1e-4)
        assert whole.std() > 0.01

    def test_next_larger_size_is_named(self, small):
        with pytest.raises(ValueError, match=r"steps of 6.*pad to"):
            small(torch.rand(1, 1, 64, 64, 64))
        with pytest.raises(ValueError, match=r"198, 216, 234.*next larger is \(198, 198, 198\)"):
            model_card("cosem_setup04").output_shape((128, 128, 128))


class TestHeads:
    def test_other_classes_keep_the_rest(self, small):
        other = small.with_head(48)
        x = torch.rand(1, 1, *[small.sizes.minimum] * 3)
        assert other(x).shape[1] == 48
        assert small(x).shape[1] == 14
        kept = small.backbone.state_dict()
        assert all(torch.equal(weights, kept[name]) for name, weights in other.backbone.state_dict().items())
        assert other.prediction_head.weight.requires_grad
        nn.init.zeros_(other.backbone[0].l_conv[0].conv_pass[0].weight)
        assert small.backbone[0].l_conv[0].conv_pass[0].weight.abs().max() > 0

    def test_replaced_head_is_described_and_rebuilt(self, small, tmp_path):
        other = small.with_head(5)
        assert describe_model(other).arguments["n_classes"] == 5
        assert describe_model(small).arguments["n_classes"] == 14
        save_checkpoint(tmp_path / "net.pth", other)
        again = load_checkpoint(tmp_path / "net.pth").model
        x = torch.rand(1, 1, *[small.sizes.minimum] * 3)
        assert torch.equal(again(x), other.eval()(x))

    def test_no_classes_are_refused(self, small):
        with pytest.raises(ModelArgumentError, match="n_classes=0"):
            small.with_head(0)


class TestPublishedFiles:
    def test_keys_are_translated(self, small):
        fresh = create_model("cosem_setup04", **SMALL)
        load_weights(fresh, as_published(small))
        x = torch.rand(1, 1, *[small.sizes.minimum] * 3)
        assert torch.equal(fresh(x), small(x))
        by_torch = CosemUNet(setup="04", **SMALL)
        by_torch.load_state_dict(as_published(small))
        assert torch.equal(by_torch(x), small(x))

    def test_repeated_entries_must_agree(self, small):
        state = as_published(small)
        state["chain.1.bias"] += 1
        with pytest.raises(CheckpointMismatchError, match=r"1 surplus: chain\.1\.bias"):
            load_weights(create_model("cosem_setup04", **SMALL), state)

    def test_network_without_final_upsampling_is_the_same_function(self):
        """A file of setup 45 may lack the mixing of channels that the port has; it then is the identity."""
        model = create_model("cosem_setup45", **SMALL).eval()
        state = {key: value for key, value in model.state_dict().items() if not key.startswith("backbone.1.")}
        shorter = {key.replace("backbone.2.", "backbone.1."): value for key, value in state.items()}
        assert len(shorter) == len(model.state_dict()) - 2
        model.load_state_dict(shorter, strict=True)
        x = torch.rand(1, 1, *[model.sizes.minimum] * 3)
        unet, _, last = model.backbone
        with torch.no_grad():
            torch.testing.assert_close(model(x), model.prediction_head(last(unet(x, False))))


def test_names_with_underscores_are_understood():
    assert model_card("cosem_setup26_1").name == "cosem_setup26.1"


def test_features_and_factors_have_to_agree():
    with pytest.raises(ModelArgumentError, match=r"factors=\(2, 3, 3\).* one fewer than features=\(2, 3\)"):
        create_model("cosem_setup04", features=(2, 3))
