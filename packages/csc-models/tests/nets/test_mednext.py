"""MedNeXt: outputs and sizes as published, and deep supervision.

`data/published_mednexts.json` holds outputs of MONAI's implementation for weights by formula.
"""

import json
from pathlib import Path

import pytest
import torch

from csc_models import ModelArgumentError, create_model, model_card

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "published_mednexts.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_the_published_network(name, weights_by_formula, input_by_formula):
    expected = PUBLISHED[name]
    model = create_model(name, **expected["arguments"]).eval()
    assert sum(weights.numel() for weights in model.parameters()) == expected["parameters"]
    model.load_state_dict(weights_by_formula(model.state_dict()))
    with torch.no_grad():
        outputs = model(input_by_formula(expected["input_shape"]))
    assert len(outputs) == len(expected["outputs"])
    for output, published in zip(outputs, expected["outputs"], strict=True):
        assert list(output.shape) == published["shape"]
        samples = output.flatten()[published["index"]]
        torch.testing.assert_close(samples, torch.tensor(published["value"]), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("size", "millions"), [("s", 5.6), ("b", 10.5), ("m", 17.6), ("l", 61.8)])
def test_sizes_are_those_of_the_paper(size, millions):
    card = model_card("3d_mednext", size=size, deep_supervision=True)
    assert round(card.parameters / 1e6, 1) == millions


class TestDeepSupervision:
    def test_returns_a_list_largest_first_for_any_size(self):
        model = create_model("2d_mednext", n_channels=1, n_classes=2, size="s", deep_supervision=True)
        outputs = model(torch.rand(1, 1, 37, 50))
        assert [tuple(output.shape[2:]) for output in outputs] == [(37, 50), (19, 25), (10, 13), (5, 7), (3, 4)]
        sum(output.mean() for output in outputs).backward()
        assert all(weights.grad is not None for weights in model.parameters())

    def test_first_output_is_that_without_it(self):
        deep = create_model("2d_mednext", n_channels=1, n_classes=2, size="s", deep_supervision=True).eval()
        plain = create_model("2d_mednext", n_channels=1, n_classes=2, size="s").eval()
        plain.load_state_dict(deep.state_dict(), strict=False)
        x = torch.rand(1, 1, 40, 24)
        assert torch.equal(deep(x)[0], plain(x))


def test_other_kernels_are_refused():
    with pytest.raises(ModelArgumentError, match="kernel_size=7 is not one of 3, 5"):
        create_model("3d_mednext", n_channels=1, n_classes=2, kernel_size=7)
