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


@pytest.mark.parametrize(
    ("size", "kernel_size", "millions"),
    [
        ("s", 3, 5.6), ("b", 3, 10.5), ("m", 3, 17.6), ("l", 3, 61.8),
        ("s", 5, 5.9), ("b", 5, 11.0), ("m", 5, 18.3), ("l", 5, 63.0),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_authors(size, kernel_size, millions):
    """As listed at https://github.com/MIC-DKFZ/MedNeXt, which once cuts digits off instead of rounding."""
    card = model_card("3d_mednext", size=size, kernel_size=kernel_size, deep_supervision=True)
    assert abs(card.parameters / 1e6 - millions) < 0.1


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("ndim", [2, 3])
def test_random_weights_give_what_monai_gives(ndim, kernel_size):
    nets = pytest.importorskip("monai.networks.nets")
    # MONAI's larger sizes widen other blocks on the way down than the authors' do; the small one is the same.
    peer = nets.MedNeXt(
        spatial_dims=ndim, init_filters=4, in_channels=1, out_channels=3, kernel_size=kernel_size,
        deep_supervision=True, use_residual_connection=True,
    )  # fmt: skip
    model = create_model(
        f"{ndim}d_mednext", n_channels=1, n_classes=3, size="s", width=4, kernel_size=kernel_size, deep_supervision=True
    )
    names = {"enc_stages": "encoder", "down_blocks": "down", "up_blocks": "up", "dec_stages": "decoder"}
    state = {}
    for key, value in peer.state_dict().items():
        part, _, rest = key.partition(".")
        if part.startswith("out_") and value.ndim > 1:
            value = value.transpose(0, 1)  # MONAI's heads are transposed convolutions of one voxel
        if part == "out_0":
            state[rest.replace("conv_out", "heads.0")] = value
        elif part == "out_blocks":  # numbered from the coarsest
            level, _, rest = rest.partition(".")
            state[rest.replace("conv_out", f"heads.{4 - int(level)}")] = value
        elif "dummy" not in key:
            state[f"{names.get(part, part)}.{rest}"] = value
    model.load_state_dict(state, strict=True)
    x = torch.rand(1, 1, *[32] * ndim)
    for output, expected in zip(model(x), peer(x), strict=True):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)


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
    with pytest.raises(ModelArgumentError, match="kernel_size=4 is not one of 3, 5, 7"):
        create_model("3d_mednext", n_channels=1, n_classes=2, kernel_size=4)
