"""Networks of the challenge: state dicts of its toolbox load strictly, and give the outputs that it gives."""

import pytest
import torch

from csc_models import create_model

CASES = {
    "2d_unet": ("2d_unet", {}),
    "2d_unet_linear": ("2d_unet", {"trilinear": True}),
    "3d_unet": ("3d_unet", {}),
    "3d_unet_linear": ("3d_unet", {"trilinear": True}),
    "2d_resnet": ("2d_resnet", {}),
    "3d_resnet": ("3d_resnet", {}),
    "2d_resnet_zero_dropout_9": ("2d_resnet", {"n_blocks": 9, "use_dropout": True, "padding_type": "zeros"}),
    "vitnet": ("vitnet", {}),
    "vitnet_64": ("vitnet", {"img_size": (64, 64, 64)}),
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_official_network(case, official_networks, weights_by_formula, input_by_formula):
    expected = official_networks[case]
    name, arguments = CASES[case]
    model = create_model(name, n_channels=1, n_classes=expected["output_shape"][1], **arguments).eval()
    state = model.state_dict()
    assert [[key, list(values.shape)] for key, values in state.items()] == expected["state_dict"]
    assert sum(weights.numel() for weights in model.parameters()) == expected["parameters"]

    model.load_state_dict(weights_by_formula(state), strict=True)
    with torch.no_grad():
        output = model(input_by_formula(expected["input_shape"]))

    assert list(output.shape) == expected["output_shape"]
    samples = output.flatten()[torch.tensor(expected["samples"]["index"])]
    torch.testing.assert_close(samples, torch.tensor(expected["samples"]["value"]), atol=1e-4, rtol=0)
    for statistic in ("mean", "std", "min", "max"):
        assert getattr(output.double(), statistic)().item() == pytest.approx(expected[statistic], abs=1e-4)


def test_every_official_case_is_compared(official_networks):
    assert set(CASES) == set(official_networks)
