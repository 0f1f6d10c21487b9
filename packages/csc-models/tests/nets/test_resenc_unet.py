"""nnU-Net's residual-encoder U-Nets: as published, and deep supervision.

`data/published_resenc_unets.json` holds outputs of dynamic-network-architectures 0.4 for weights by formula.
"""

import json
from pathlib import Path

import pytest
import torch

from csc_models import ModelArgumentError, create_model, model_card

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "published_resenc_unets.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_the_published_network(name, weights_by_formula, input_by_formula):
    expected = PUBLISHED[name]
    model = create_model(name, **expected["arguments"]).eval()
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


def test_levels_have_to_agree():
    with pytest.raises(ModelArgumentError, match="one of each per level"):
        create_model("3d_resenc_unet", n_channels=1, n_classes=2, features=(4, 8), blocks=(1, 1, 1))
    with pytest.raises(ModelArgumentError, match=r"features=\(4\.5, 8\)"):
        create_model("3d_resenc_unet", n_channels=1, n_classes=2, features=(4.5, 8))
