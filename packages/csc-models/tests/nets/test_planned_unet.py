"""U-Nets by nnU-Net's plans: as published, and deep supervision.

`data/published_resenc_unets.json` and `data/published_plans.json` hold outputs of dynamic-network-architectures 0.4
for weights by formula; `benchmarks/plans_networks.py` compares many more plans with the package itself.
"""

import copy
import json
from pathlib import Path

import pytest
import torch

from csc_models import ModelArgumentError, create_model, list_models, model_card, model_spec
from csc_models.nets.plans import network_of_plan

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "published_resenc_unets.json").read_text())
PLANS = json.loads((DATA / "published_plans.json").read_text())


@pytest.mark.parametrize("case", [*PUBLISHED, *PLANS])
def test_agrees_with_the_published_network(case, weights_by_formula, input_by_formula):
    if case in PLANS:
        expected = PLANS[case]
        name, arguments = network_of_plan(expected["plan"])
        arguments.update(n_channels=2, n_classes=3, deep_supervision=True)
    else:
        expected = PUBLISHED[case]
        name, arguments = case, expected["arguments"]
    model = create_model(name, **arguments).eval()
    state = model.state_dict()
    assert sorted(state) == expected["keys"]
    assert sum(weights.numel() for weights in model.parameters()) == expected["parameters"]
    model.load_state_dict(weights_by_formula(state))
    with torch.no_grad():
        outputs = model(input_by_formula(expected["input_shape"]))
    assert len(outputs) == len(expected["outputs"])
    for output, published in zip(outputs, expected["outputs"], strict=True):
        assert list(output.shape) == published["shape"]
        samples = output.flatten()[published["index"]]
        torch.testing.assert_close(samples, torch.tensor(published["value"]), atol=1e-4, rtol=0)


class TestPlans:
    @pytest.fixture
    def architecture(self):
        return copy.deepcopy(PLANS["new, plain, 2D"]["plan"]["architecture"])

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("conv_op", "torch.nn.Conv1d", r"conv_op='torch.nn.Conv1d'.*here are Conv2d, Conv3d"),
            ("norm_op", "torch.nn.InstanceNorm3d", "norm_op='InstanceNorm3d'"),
            ("nonlin", "torch.nn.Mish", "nonlin='torch.nn.Mish'"),
            ("nonlin_kwargs", {"alpha": 2.0}, "nonlin_kwargs={'alpha': 2.0}"),
            ("nonlin_first", True, "nonlin_first=True"),
            ("strides", None, "cannot be read"),
        ],
    )
    def test_what_is_not_here_is_refused_by_name(self, architecture, option, value, words):
        architecture["arch_kwargs"][option] = value
        with pytest.raises(ModelArgumentError, match=words):
            network_of_plan({"architecture": architecture})

    def test_numbers_for_all_stages_and_no_layers(self, architecture):
        arguments = architecture["arch_kwargs"]
        arguments.update(kernel_sizes=3, n_conv_per_stage=1, n_conv_per_stage_decoder=1, norm_op=None, nonlin=None)
        name, found = network_of_plan({"architecture": architecture})
        assert name == "2d_plain_unet"
        assert (found["kernels"], found["blocks"], found["decoder_blocks"]) == ((3, 3, 3), (1, 1, 1), (1, 1))
        assert (found["norm"], found["nonlinearity"]) == ("none", "none")
        assert create_model(name, n_channels=1, n_classes=1, **found)(torch.rand(1, 1, 9, 11)).shape == (1, 1, 9, 11)

    def test_lacking_keys_and_other_networks_are_told(self, architecture):
        with pytest.raises(ModelArgumentError, match="cannot be read: KeyError\\('UNet_class_name'\\)"):
            network_of_plan({"patch_size": [1, 2]})
        architecture["network_class_name"] = "my.Transformer"
        with pytest.raises(ModelArgumentError, match=r"network='my.Transformer'.*PlainConvUNet"):
            network_of_plan({"architecture": architecture})


def test_dynunet_is_another_name():
    assert model_spec("3d_dynunet") is model_spec("3d_plain_unet")
    assert "3d_dynunet" not in list_models()


def test_axes_that_are_not_halved_may_be_short():
    """A patch of a thick axis, as nnU-Net plans it."""
    strides = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    model = create_model("3d_resenc_unet", n_channels=1, n_classes=2, features=(2,) * 4, blocks=1, strides=strides)
    assert model_card("3d_resenc_unet", **model_spec("3d_resenc_unet").describe(model).arguments).sizes.minimum == 3
    assert model(torch.rand(1, 1, 3, 40, 17)).shape == (1, 2, 3, 40, 17)


def test_medium_plan_has_the_published_size():
    assert model_card("3d_resenc_unet", deep_supervision=True).parameters == 102_349_770


class TestDeepSupervision:
    @pytest.fixture
    def arguments(self):
        return {"n_channels": 1, "n_classes": 2, "features": (4, 8, 8, 8), "blocks": (1, 1, 1, 1)}

    def test_returns_a_list_largest_first_for_any_size(self, arguments):
        model = create_model("3d_resenc_unet", deep_supervision=True, **arguments)
        outputs = model(torch.rand(1, 1, 17, 20, 33))
        assert [tuple(output.shape[2:]) for output in outputs] == [(17, 20, 33), (9, 10, 17), (5, 5, 9)]
        sum(output.mean() for output in outputs).backward()
        assert all(weights.grad is not None for weights in model.parameters())

    def test_first_output_is_that_without_it(self, arguments):
        deep = create_model("2d_resenc_unet", deep_supervision=True, **arguments).eval()
        plain = create_model("2d_resenc_unet", **arguments).eval()
        plain.load_state_dict(deep.state_dict(), strict=False)
        x = torch.rand(1, 1, 20, 24)
        assert torch.equal(deep(x)[0], plain(x))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"blocks": (1, 1, 1)}, r"blocks=\(1, 1, 1\) must be one for each of 2 stages"),
        ({"blocks": 0}, "blocks=0 must be at least 1"),
        ({"features": (4,)}, r"features=\(4,\) must be for at least two stages"),
        ({"features": (4.5, 8)}, r"features=\(4\.5, 8\)"),
        ({"decoder_blocks": (1, 1)}, "decoder_blocks=.* but the coarsest"),
        ({"kernels": (3, 2)}, "kernels=.* must be odd"),
        ({"kernels": ((3, 3), 3)}, "kernels=.* one or 3 for each"),
        ({"strides": (2, 2)}, "strides=.* 1 for the first stage"),
        ({"dropout": 1.0}, "dropout=1.0 must be"),
        ({"norm": "group"}, "norm='group' is not one of 'instance', 'batch', 'none'"),
    ],
)
def test_impossible_numbers_are_named(wrong, words):
    given = {"features": (4, 8), "blocks": 1, **wrong}
    with pytest.raises(ModelArgumentError, match=words):
        create_model("3d_resenc_unet", n_channels=1, n_classes=2, **given)
