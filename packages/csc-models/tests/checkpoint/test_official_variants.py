"""Every way in which the challenge's networks can be called: built here alike, and their bare weights load or ask.

`data/official_variants.json` has, for each call, a CRC of the keys and shapes, and some of the output, that the classes
of the toolbox give for weights by `filled`. It was written with

    python packages/csc-models/tests/checkpoint/test_official_variants.py FOLDER

where FOLDER holds ``resnet.py``, ``unet_model_2D.py``, ``unet_model_3D.py`` and ``vitnet.py`` of the toolbox (the last
needs ml_collections).
"""

import json
import sys
import zlib
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, ModelArgumentError, ResNet, UNet_2D, UNet_3D, ViTVNet
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.checkpoint.official.recognition import recognise
from csc_models.specification import without_weights

GOLDEN = Path(__file__).parents[1] / "data" / "official_variants.json"
SMALL = {"ngf": 4, "n_blocks": 1, "output_nc": 3}
NORMS = {2: (nn.InstanceNorm2d, nn.BatchNorm2d), 3: (nn.InstanceNorm3d, nn.BatchNorm3d)}


class Swish(nn.Module):
    """An activation of somebody's own."""

    def forward(self, x):
        return x * torch.sigmoid(x)


class Config(dict):
    """Stands for a `ConfigDict` where ml_collections is not installed."""

    def to_dict(self):
        return {name: value.to_dict() if isinstance(value, Config) else value for name, value in self.items()}


def vit_config(**changes):
    """The toolbox's config with small sizes."""
    transformer = {"mlp_dim": 16, "num_heads": 2, "num_layers": 2, "attention_dropout_rate": 0.0, "dropout_rate": 0.1}
    transformer.update({name: changes.pop(name) for name in list(changes) if name in transformer})
    return {
        "patches": {"size": (8, 8, 8), "grid": (8, 8, 8)},
        "hidden_size": 12,
        "transformer": transformer,
        "patch_size": 8,
        "conv_first_channel": 6,
        "encoder_channels": (2, 3, 4),
        "down_factor": 2,
        "down_num": 2,
        "decoder_channels": (6, 5, 4, 3, 2),
        "skip_channels": (4, 4, 4, 3, 2),
        "n_skip": 5,
        "input_channels": 1,
        **changes,
    }


def as_config_dict(data, kind):
    return kind(
        {name: as_config_dict(value, kind) if isinstance(value, dict) else value for name, value in data.items()}
    )


def resnet_calls():
    """Keyword arguments of `ResNet` by a name."""
    for ndims in (2, 3):
        instance, batch = NORMS[ndims]
        norms = {
            "instance": instance,
            "batch": batch,
            "affine": partial(instance, affine=True),
            "tracking": partial(instance, track_running_stats=True),
            "momentum": partial(batch, momentum=0.3),
            "eps": partial(batch, eps=1e-2),
            "plain batch": partial(batch, affine=False),
            "twice partial": partial(partial(batch, eps=1e-3), momentum=0.2),
            "groups": partial(nn.GroupNorm, 2),
            "none": nn.Identity,
            "own": lambda channels: nn.GroupNorm(4, channels),
        }
        activations = {
            "leaky": partial(nn.LeakyReLU, 0.2),
            "inplace": partial(nn.ReLU, inplace=True),
            "celu": partial(nn.CELU, alpha=0.5),
            "own": Swish,
            **{layer.__name__: layer for layer in (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.PReLU, nn.Tanh,
               nn.Mish, nn.Softplus, nn.Hardswish, nn.Sigmoid, nn.SELU)},
        }  # fmt: skip
        paddings = ("reflect", "same", "replicate", "zeros", "valid", "Reflect", "SAME", "Zeros", "VALID")
        for padding, dropout in product(paddings, (False, True)):
            yield f"{ndims}d {padding} dropout={dropout}", {"padding_type": padding, "use_dropout": dropout}, ndims
        for (name, norm), padding in product(norms.items(), ("reflect", "zeros")):
            yield f"{ndims}d {name} {padding}", {"norm_layer": norm, "padding_type": padding}, ndims
        for name, activation in activations.items():
            yield f"{ndims}d activation {name}", {"activation": activation}, ndims
        for blocks, halvings in product((0, 1, 3), (0, 1, 3)):
            yield (
                f"{ndims}d {blocks} blocks {halvings} halvings",
                {"n_blocks": blocks, "n_downsampling": halvings},
                ndims,
            )
        yield f"{ndims}d ngf channels", {"output_nc": None}, ndims
        yield f"{ndims}d two in", {"input_nc": 2, "ngf": 3}, ndims


def calls(config_dict=Config):
    """From names to (class, arguments, keyword arguments, channels of the input)."""
    found = {}
    for name, given, ndims in resnet_calls():
        found[f"resnet {name}"] = ("ResNet", (ndims,), {**SMALL, **given}, given.get("input_nc", 1))
    for dims, channels, linear in product((2, 3), (1, 3), (False, True)):
        found[f"unet {dims}d {channels} {linear}"] = (f"UNet_{dims}D", (channels, 2, linear), {}, channels)
    for name, changes in {
        "small": {}, "heads": {"num_heads": 3}, "no layers": {"num_layers": 0}, "two in": {"input_channels": 2},
        "wide": {"decoder_channels": (8, 8, 8, 8, 8), "conv_first_channel": 8},
    }.items():  # fmt: skip
        config = as_config_dict(vit_config(**changes), config_dict)
        found[f"vit {name}"] = ("ViTVNet", (2, config, (64, 32, 32)), {}, changes.get("input_channels", 1))
        found[f"vit {name} vis"] = ("ViTVNet", (2,), {"config": config, "img_size": (32,) * 3, "vis": True},
                                    changes.get("input_channels", 1))  # fmt: skip
    return found


CALLS = calls()


def filled(state):
    """Weights from keys and shapes."""
    return {key: _values(key, old) for key, old in state.items()}


def _values(key, old):
    if not old.is_floating_point():
        return torch.zeros_like(old)
    values = torch.sin(torch.arange(old.numel(), dtype=torch.float64) * 1.7 + len(key)).reshape(old.shape)
    return values * 0.3 if old.ndim > 1 else 1 + 0.3 * values if not key.endswith("bias") else 0.1 * values


def facts(model, name):
    """A CRC of the keys and shapes, and some of the output."""
    _, arguments, keywords, channels = CALLS[name]
    state = model.state_dict()
    crc = zlib.crc32(repr([(key, tuple(value.shape)) for key, value in state.items()]).encode())
    if name.startswith("unet"):  # large; `test_official.py` compares their output
        return {"keys": crc}
    # In float64: the instance norm of eight voxels makes 5e-3 of what processors differ by in float32.
    model = deepcopy(model).double().eval()
    model.load_state_dict(filled(state))
    if name.startswith("vit"):
        shape = arguments[2] if len(arguments) > 2 else keywords["img_size"]
    else:  # valid ones want more; what is not a multiple of the stride is padded up by the toolbox
        shape = (48 if keywords.get("padding_type", "").lower() == "valid" else 16,) * arguments[0]
    count = channels * torch.Size(shape).numel()
    with torch.no_grad():
        given = torch.sin(0.05 * torch.arange(count, dtype=torch.float64)).reshape(1, channels, *shape)
        output = model(given).flatten()
    picked = torch.linspace(0, len(output) - 1, 6).long()
    return {"keys": crc, "size": len(output), "values": [round(value, 9) for value in output[picked].tolist()]}


def built(name):
    kind, arguments, keywords, _ = CALLS[name]
    make = {"ResNet": ResNet, "UNet_2D": UNet_2D, "UNet_3D": UNet_3D, "ViTVNet": ViTVNet}[kind]
    if kind.startswith("UNet"):
        with without_weights():
            return make(*arguments, **keywords)
    return make(*arguments, **keywords)


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


def test_every_call_is_compared(golden):
    assert set(CALLS) == set(golden)
    assert len(CALLS) >= 147


@pytest.mark.parametrize("name", CALLS)
def test_each_call(name, golden, tmp_path):
    """It gives what the official class gives; its bare weights load or ask; our files of it are rebuilt."""
    model, expected = built(name), golden[name]
    found = facts(model, name)
    assert found["keys"] == expected["keys"]
    assert found.get("size") == expected.get("size")
    torch.testing.assert_close(found.get("values", []), expected.get("values", []), atol=1e-8, rtol=1e-8)
    if name.startswith("unet"):
        recognised = recognise(model.state_dict())
        assert recognised.open == ()
        assert recognised.arguments["trilinear"] == CALLS[name][1][2]
        return
    bare, own = tmp_path / "bare.pth", tmp_path / "own.pth"
    torch.save(model.state_dict(), bare)
    with pytest.raises(CheckpointError, match=r"do not tell .*model=create_model\(") as caught:
        load_checkpoint(bare)
    opened = ("padding_type", "activation", "norm_layer") if name.startswith("resnet") else ("img_size", "num_heads")
    assert all(word in str(caught.value) for word in opened)
    save_checkpoint(own, model)
    if "own" in name.split():  # somebody's own layer is nothing that a file can hold
        with pytest.raises(CheckpointError, match="model="):
            load_checkpoint(own)
        return
    again = load_checkpoint(own).model
    assert str(again) == str(model.eval())  # with all options of all layers
    load_checkpoint(bare, model=again)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResNet(4),
        lambda: ResNet(2, padding_type="nowhere"),
        lambda: ResNet(2, padding_type="nowhere", n_blocks=0),
        lambda: ResNet(2, n_blocks=-1),
        lambda: ResNet(2, norm_layer=nn.BatchNorm3d),
        lambda: ResNet(3, norm_layer=nn.InstanceNorm2d),
        lambda: ResNet(2, ngf=4, norm_layer=partial(nn.GroupNorm, 3)),
        lambda: ResNet(2, ngf=4, norm_layer=nn.LayerNorm),
        lambda: ResNet(2, norm_layer=None),
        lambda: ResNet(2, norm_layer=partial(nn.BatchNorm2d, epsilon=1)),
        lambda: ResNet(2, norm_layer={"layer": "Nothing"}),
        lambda: ResNet(2, norm_layer=lambda channels: channels),
        lambda: ResNet(2, activation=nn.GLU),
        lambda: ResNet(2, activation=nn.Threshold),
        lambda: ResNet(2, activation=nn.MultiheadAttention),
        lambda: ResNet(2, ngf=4, activation=partial(nn.PReLU, 4)),
        lambda: ResNet(2, activation="Linear"),
        lambda: ResNet(2, activation="nothing"),
        lambda: ResNet(2, activation=torch.relu),
        lambda: ViTVNet(2, "R50"),
        lambda: ViTVNet(2, 3),
        lambda: ViTVNet(2, img_size=(100, 64, 64)),
        lambda: ViTVNet(2, n_channels=3, config=vit_config(input_channels=2)),
        *(
            partial(lambda changes: ViTVNet(2, vit_config(**changes)), changes)
            for changes in (
                {"num_heads": 5}, {"num_heads": 0}, {"down_num": 3}, {"down_factor": 1}, {"n_skip": 3},
                {"skip_channels": (1, 1, 1, 1, 1)}, {"decoder_channels": (4, 4)}, {"encoder_channels": (4, 4)},
                {"patches": {"size": (4, 4, 4)}}, {"dropout_rate": 2}, {"hidden": 3}, {"mlp_dim": 0},
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_it_is_built(make):
    with pytest.raises(ModelArgumentError):
        make()


def test_the_words_of_an_error_say_what_does_not_fit():
    with pytest.raises(ModelArgumentError, match=r"norm_layer=.*GroupNorm.* does not work on 4 channels: num_channels"):
        ResNet(2, ngf=4, norm_layer=partial(nn.GroupNorm, 3))
    with pytest.raises(ModelArgumentError, match=r"activation=.*GLU.* does not give a tensor of the shape"):
        ResNet(2, activation=nn.GLU)


if __name__ == "__main__":
    import ml_collections

    sys.path.insert(0, sys.argv[1])
    from resnet import ResNet
    from unet_model_2D import UNet_2D
    from unet_model_3D import UNet_3D
    from vitnet import ViTVNet

    CALLS = calls(ml_collections.ConfigDict)
    GOLDEN.write_text(json.dumps({name: facts(built(name), name) for name in CALLS}, indent=0) + "\n")
