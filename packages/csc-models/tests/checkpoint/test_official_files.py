"""State dicts as the challenge's toolbox saves them: recognised, loaded strictly, and given the range they know."""

import logging

import pytest
import torch

from csc_models import CheckpointError, ResNet, UNet_2D, UNet_3D, ViTVNet, create_model
from csc_models.checkpoint import identify, load_checkpoint, save_checkpoint

SMALL_NETWORKS = {
    "2d_unet": lambda: UNet_2D(3, 14, width=4),
    "2d_unet linear": lambda: UNet_2D(1, 2, trilinear=True, width=4),
    "3d_unet": lambda: UNet_3D(1, 5, width=4),
    "2d_resnet": lambda: ResNet(ndims=2, output_nc=3, ngf=4),
    "2d_resnet dropout": lambda: ResNet(ndims=2, input_nc=2, output_nc=3, ngf=4, use_dropout=True, n_blocks=9),
    "2d_resnet zeros": lambda: ResNet(ndims=2, output_nc=3, ngf=4, padding_type="zeros", use_dropout=True),
    "2d_resnet batch": lambda: ResNet(ndims=2, output_nc=3, ngf=4, norm_layer="batch", n_downsampling=1),
    "3d_resnet": lambda: ResNet(ndims=3, output_nc=3, ngf=2, n_blocks=2, n_downsampling=3),
}


@pytest.mark.parametrize("case", SMALL_NETWORKS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_bare_weights_are_recognised(case, wrapped, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "old.pth"
    model = SMALL_NETWORKS[case]().eval()
    state = model.state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()} if wrapped else state, path)

    identity = identify(path)
    whole = "unet" in case  # the weights of a ResNet do not tell its padding and activation
    loaded = load_checkpoint(path, model=None if whole else SMALL_NETWORKS[case]().eval())

    assert identity.origin == "official"
    assert ("do not tell padding_type" in identity.problem) is not whole
    assert loaded.description.model_name == case.split()[0]
    assert identity.values == sum(values.numel() for values in state.values())
    assert loaded.origin == "official"
    assert loaded.description.raw_range == (0.0, 255.0)
    assert "0 to 255" in caplog.text
    assert not loaded.model.training
    x = torch.rand(1, state[next(iter(state))].shape[1], *[17] * (3 if case.startswith("3d") else 2))
    assert torch.equal(loaded.model(x), model(x))


@pytest.mark.parametrize("case", ["2d_unet", "3d_resnet", "2d_resnet_zero_dropout_9", "vitnet", "vitnet_64"])
def test_every_official_state_dict_is_recognised_by_its_shapes(case, official_networks, tmp_path):
    state = {key: torch.zeros(shape) for key, shape in official_networks[case]["state_dict"]}
    for key in state:
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.long)
    path = tmp_path / "official.pth"
    torch.save(state, path)
    identity = identify(path)
    assert identity.origin == "official"
    if case == "2d_unet":
        assert identity.problem == ""
        assert identity.description.model_name == "2d_unet"
    elif case.startswith("vitnet"):
        assert "do not tell img_size (8 patches" if case == "vitnet_64" else "(64 patches" in identity.problem
        assert "out_channels=" in identity.problem
    else:
        assert "do not tell padding_type ('zeros' or 'valid')" if "zero" in case else "'replicate'" in identity.problem
        assert ("use_dropout=True, n_blocks=9" in identity.problem) is ("9" in case)


def test_raw_range_of_recognised_files_can_be_replaced(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(UNet_2D(1, 2, width=4).state_dict(), path)
    assert load_checkpoint(path, raw_range=(0, 1)).description.raw_range == (0.0, 1.0)


def test_weights_under_the_usual_names_are_found(tmp_path):
    path = tmp_path / "old.pth"
    state = UNet_2D(1, 2, width=4).state_dict()
    for name in ("model", "state_dict", "model_state_dict"):
        torch.save({name: state, "epoch": 3}, path)
        assert load_checkpoint(path).description.model_name == "2d_unet"


class TestUnknown:
    def test_nearly_official_weights_are_not_taken_for_official(self, tmp_path):
        path = tmp_path / "other.pth"
        state = UNet_2D(1, 2, width=4).state_dict()
        del state["down2.maxpool_conv.1.double_conv.0.weight"]
        torch.save(state, path)
        identity = identify(path)
        assert identity.origin == "unknown"
        assert "an experiment file that names it" in identity.problem
        with pytest.raises(CheckpointError, match="does not say which network"):
            load_checkpoint(path)

    @pytest.mark.parametrize(
        "state",
        [
            {"weight": torch.zeros(1)},
            {"inc.double_conv.0.weight": torch.zeros(4, 1, 3), "outc.conv.weight": torch.zeros(2)},
            {"model.0.weight": torch.zeros(4, 1, 3, 3), "model.3.weight": torch.zeros(0, 1, 3, 3)},
            {"model.1.weight": torch.zeros(4, 1, 7, 7), "model.9.conv_block.1.weight": torch.zeros(3)},
        ],
    )
    def test_odd_weights_are_unknown(self, state, tmp_path):
        path = tmp_path / "odd.pth"
        torch.save(state, path)
        assert identify(path).origin == "unknown"


class TestIdentity:
    def test_own_files(self, tmp_path):
        path = tmp_path / "own.pth"
        save_checkpoint(path, create_model("3d_unet_s", n_channels=1, n_classes=2, width=4))
        identity = identify(path)
        assert identity.origin == "csc-models"
        assert identity.problem == ""
        for fact in ("own.pth: a checkpoint of csc-models", "3d_unet_s", "width=4", "loads      yes"):
            assert fact in str(identity)

    def test_file_that_does_not_load_says_why(self, tmp_path):
        path = tmp_path / "own.pth"
        save_checkpoint(path, create_model("3d_unet_s", n_channels=1, n_classes=2, width=4))
        contents = torch.load(path, weights_only=True)
        del contents["model"]["head.bias"], contents["digests"]
        torch.save(contents, path)
        assert "1 missing: head.bias" in identify(path).problem
        assert "loads      no: " in str(identify(path))


class TestPositions:
    def test_weights_for_another_image_size_are_interpolated(self, tmp_path):
        config = {"hidden_size": 12, "mlp_dim": 16, "num_heads": 2, "num_layers": 1}
        small = ViTVNet(2, config=config, img_size=(64, 64, 64))
        # A linear function of the position stays one.
        centres = torch.arange(2) * 1.0
        volume = centres[:, None, None] + 10 * centres[:, None] + 100 * centres
        with torch.no_grad():
            small.transformer.embeddings.position_embeddings.copy_(volume.flatten()[None, :, None].expand(1, 8, 12))
        large = ViTVNet(2, config=config, img_size=(128, 64, 64))
        large.load_state_dict(small.state_dict())
        positions = large.transformer.embeddings.position_embeddings[0, :, 0].reshape(4, 2, 2)
        expected = torch.tensor([0, 0.25, 0.75, 1])[:, None, None] + 10 * centres[:, None] + 100 * centres
        torch.testing.assert_close(positions.detach(), expected)

        path = tmp_path / "small.pth"
        save_checkpoint(path, small)
        again = ViTVNet(2, config=config, img_size=(128, 64, 64))
        load_checkpoint(path, model=again)
        assert torch.equal(
            again.transformer.embeddings.position_embeddings, large.transformer.embeddings.position_embeddings
        )
