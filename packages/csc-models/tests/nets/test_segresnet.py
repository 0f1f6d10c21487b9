"""SegResNet: the numbers are MONAI's, and impossible arguments are named."""

import pytest
import torch

from csc_models import ModelArgumentError, create_model

CASES = {
    "3d_segresnet": ({"width": 8, "blocks": (1, 2, 1), "decoder_blocks": (2, 1)}, (8, 4, 12)),
    "2d_segresnet": ({}, (16, 24)),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_monai(name):
    nets = pytest.importorskip("monai.networks.nets")
    arguments, sizes = CASES[name]
    ours = create_model(name, n_channels=2, n_classes=3, **arguments).eval()
    theirs = nets.SegResNet(
        ours.ndim, ours.width, 2, 3, blocks_down=ours.blocks, blocks_up=ours.decoder_blocks
    ).eval()  # fmt: skip
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 2, *sizes)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 12}, "width=12 must be a multiple of 8"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"blocks": (1, 1)}, r"decoder_blocks=\(1, 1, 1\) must be one fewer"),
        ({"decoder_blocks": (1, 0, 1)}, r"decoder_blocks=\(1, 0, 1\) must be at least 1"),
        ({"blocks": (), "decoder_blocks": ()}, "one fewer"),
    ],
)
def test_impossible_numbers_are_named(wrong, words):
    with pytest.raises(ModelArgumentError, match=words):
        create_model("3d_segresnet", n_channels=1, n_classes=2, **wrong)
