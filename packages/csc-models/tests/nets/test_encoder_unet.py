"""Encoders of timm: weights from a file or the cache, one channel of three, frozen, rebuilt without any of it."""

from __future__ import annotations

import socket
import sys

import pytest
import torch

from csc_models import CheckpointMismatchError, CheckpointNotFoundError, ModelArgumentError, create_model
from csc_models.catalog import encoder_parts
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.errors import MissingExtraError

timm = pytest.importorskip("timm")

ENCODER = "test_resnet"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("something was to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of weights for images of three colours with 1000 classes, as timm publishes them, and its tensors."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "published.pth"
    state = timm.create_model(ENCODER).state_dict()
    torch.save(state, file)
    return file, state


def make(ndim=2, **more):
    torch.manual_seed(0)
    return create_model(f"{ndim}d_encoder_unet", n_channels=1, n_classes=2, encoder=ENCODER, width=2, **more)


def of_encoder(model):
    return {key.removeprefix("backbone."): v for key, v in model.state_dict().items() if key.startswith("backbone.")}


@pytest.mark.parametrize("ndim", [2, 3])
def test_weights_of_a_file_are_taken_with_the_three_colours_added_up(published, ndim):
    file, state = published
    found = of_encoder(make(ndim, encoder_weights=str(file)))
    first = "conv1.0.weight"
    torch.testing.assert_close(found[first], state[first].sum(1, keepdim=True))
    assert len(found) > 20
    for key, value in found.items():
        if key != first:
            assert torch.equal(value, state[key]), key


def test_a_checkpoint_needs_neither_the_file_nor_the_cache_again(published, tmp_path):
    model = make(encoder_weights=str(published[0])).eval()
    save_checkpoint(tmp_path / "net.pth", model)
    again = load_checkpoint(tmp_path / "net.pth")
    assert again.description.model_arguments["encoder_weights"] is None
    x = torch.rand(1, 1, 40, 33)
    assert torch.equal(again.model(x), model(x))


def test_cached_takes_what_timm_has_on_this_machine_and_downloads_nothing(published, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(CheckpointNotFoundError, match=r"timm\.create_model\('resnet18\.a1_in1k', pretrained=True\)"):
        create_model("2d_encoder_unet", n_channels=1, n_classes=2, encoder_weights="cached")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, name: str(published[0]))
    assert torch.equal(
        of_encoder(make(encoder_weights="cached"))["layer1.0.conv1.weight"], published[1]["layer1.0.conv1.weight"]
    )


def test_wrong_names_and_files_are_told(published, tmp_path):
    with pytest.raises(ModelArgumentError, match=r"timm has no encoder 'resnet81' \(did you mean"):
        create_model("2d_encoder_unet", n_channels=1, n_classes=2, encoder="resnet81")
    with pytest.raises(CheckpointNotFoundError, match="there is no file"):
        make(encoder_weights=str(tmp_path / "gone.pth"))
    with pytest.raises(CheckpointMismatchError, match="for test_convnext"):
        create_model(
            "2d_encoder_unet", n_channels=1, n_classes=2, encoder="test_convnext", encoder_weights=str(published[0])
        )


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_frozen_encoder_stays_as_it_is_and_the_rest_learns(ndim):
    model = make(ndim, frozen=True).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.rand(2, 1, *[33] * ndim)).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("backbone.") for key in changed)
    assert {key for key, _ in model.named_parameters() if not key.startswith("backbone.")} <= changed
    assert encoder_parts(model) == ("backbone.",)


def test_of_three_axes_the_encoder_sees_planes_and_the_decoder_joins_them():
    model = make(3).eval()
    x = torch.rand(1, 1, 5, 32, 32)
    other = x.clone()
    other[:, :, 4] = 0
    seen = []
    model.backbone.register_forward_hook(lambda _, given, features: seen.append((given[0], features)))
    model(x), model(other)
    (planes, one), (_, two) = seen
    assert planes.shape == (5, 1, 32, 32)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a[:4], b[:4])
    assert not torch.equal(model(x)[:, :, 3], model(other)[:, :, 3])


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"csc-models\[encoders\]"):
        make()


def test_every_network_that_says_what_its_encoder_is_has_such_weights():
    from csc_models import list_models, model_spec
    from csc_models.specification.models import without_weights

    without = {"2d_resnet", "3d_resnet", "monai_unet"}
    named = {name for name in list_models() if model_spec(name).encoder}
    assert {name for name in list_models() if name not in named} == without
    for name in sorted(named):
        spec = model_spec(name)
        if spec.extra == "monai":
            pytest.importorskip("monai")
        with without_weights():
            model = spec.build({spec.channels: 1, spec.classes: 2})
        keys = list(model.state_dict())
        chosen = [key for key in keys if key.startswith(encoder_parts(model))]
        # Of each part there is something, and the head is not among it.
        assert all(any(key.startswith(part) for key in keys) for part in spec.encoder), name
        assert 0 < len(chosen) < len(keys), name
        assert keys[-1] not in chosen, name
