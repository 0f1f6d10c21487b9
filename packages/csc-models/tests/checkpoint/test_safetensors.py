import json
import sys

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, CheckpointMismatchError, CheckpointReadError, ModelError, UNet_2D, create_model
from csc_models.checkpoint import CheckpointDescription, identify, load_checkpoint, load_latest, save_checkpoint

safetensors = pytest.importorskip("safetensors", reason="needs csc-models[safetensors]")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="needs csc-models[safetensors]")


@pytest.fixture
def model():
    return create_model("3d_unet_s", n_channels=1, n_classes=2, width=4, depth=2, norm="batch")


@pytest.fixture
def description():
    return CheckpointDescription(
        classes=("mito", "er"),
        input_arrays={"raw": {"shape": (32, 32, 32), "scale": (8.0, 8.0, 8.0)}},
        raw_range=(0.0, 1.0),
    )


@pytest.fixture
def saved(tmp_path, model, description):
    path = tmp_path / "net_3.safetensors"
    save_checkpoint(path, model, description=description, extra={"epoch": 3, "scores": {"loss": [0.5, 0.25]}})
    return path


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class TestRoundTrip:
    def test_network_is_rebuilt_from_the_file_alone(self, saved, model):
        loaded = load_checkpoint(saved)
        assert same_weights(loaded.model.state_dict(), model.state_dict())
        x = torch.rand(1, 1, 8, 9, 10)
        assert torch.equal(loaded.model(x), model.eval()(x))
        assert loaded.origin == "csc-models"
        assert loaded.description.model_name == "3d_unet_s"
        assert loaded.description.classes == ("mito", "er")
        assert loaded.description.raw_range == (0.0, 1.0)
        assert loaded.extra == {"epoch": 3, "scores": {"loss": [0.5, 0.25]}}

    def test_says_the_same_as_a_pth_file(self, saved, tmp_path, model, description):
        other = tmp_path / "net_3.pth"
        save_checkpoint(other, model, description=description)
        one, two = identify(saved), identify(other)
        assert one.description == two.description
        assert (one.origin, one.tensors, one.values, one.problem) == (two.origin, two.tensors, two.values, "")

    def test_other_tools_read_weights_and_description(self, saved, model):
        with safetensors.safe_open(saved, framework="np") as stored:
            metadata = stored.metadata()
            assert metadata["format"] == "pt"
            assert json.loads(metadata["csc-models"])["description"]["classes"] == ["mito", "er"]
            head = stored.get_tensor("head.weight")
        assert (head == model.head.weight.detach().numpy()).all()

    def test_tied_and_strided_and_viewed_weights(self, tmp_path):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.one = nn.Linear(3, 3)
                self.two = self.one
                self.register_buffer("part", torch.arange(100.0)[10:12])
                self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)

        tied, path = Tied(), tmp_path / "tied.safetensors"
        save_checkpoint(path, tied)
        assert same_weights(load_checkpoint(path, model=Tied()).model.state_dict(), tied.state_dict())
        assert path.stat().st_size < 2000  # the view is written without what it is a view of

    def test_half_precision_and_map_location(self, tmp_path, model):
        path = tmp_path / "half.safetensors"
        save_checkpoint(path, model.to(torch.bfloat16))
        loaded = load_checkpoint(path, model=model, map_location=torch.device("cpu"))
        assert loaded.model.head.weight.dtype == torch.bfloat16

    def test_the_latest_of_a_folder_counts_both_formats(self, saved, tmp_path, model):
        save_checkpoint(tmp_path / "net_2.pth", model)
        assert load_latest(tmp_path, model).path == saved
        save_checkpoint(tmp_path / "net_10.pth", model)
        assert load_latest(tmp_path, model).path.name == "net_10.pth"

    def test_a_file_is_what_its_bytes_say_whatever_its_name(self, saved, tmp_path, model):
        renamed = saved.rename(tmp_path / "net.pth")
        assert load_checkpoint(renamed).description.classes == ("mito", "er")
        torch.save(model.state_dict(), saved)
        assert same_weights(load_checkpoint(saved, model=model).model.state_dict(), model.state_dict())


class TestWriting:
    @pytest.mark.parametrize(
        ("extra", "what"),
        [
            ({"optimizer": {"step": torch.zeros(1)}}, r"extra\['optimizer'\]\['step'\] is of type torch.Tensor.*\.pth"),
            ({"scores": {3: 0.5}}, r"extra\['scores'\] has the key 3"),
            ({"raw": [b"bytes"]}, r"extra\['raw'\]\[0\] is of type builtins.bytes"),
        ],
    )
    def test_what_the_format_cannot_hold_is_refused_before_writing(self, tmp_path, model, extra, what):
        with pytest.raises(CheckpointError, match=what):
            save_checkpoint(tmp_path / "net.safetensors", model, extra=extra)
        assert list(tmp_path.iterdir()) == []

    def test_failed_write_leaves_the_old_file_and_nothing_else(self, saved, tmp_path, model, monkeypatch):
        before = saved.read_bytes()

        def full_disk(tensors, path, metadata):
            path.write_bytes(b"half")
            raise safetensors.SafetensorError("No space left on device")

        monkeypatch.setattr(safetensors_torch, "save_file", full_disk)
        with pytest.raises(CheckpointError, match=r"cannot write .*net_3.safetensors: No space left"):
            save_checkpoint(saved, model)
        assert saved.read_bytes() == before
        assert list(tmp_path.iterdir()) == [saved]

    def test_missing_folder_is_named(self, tmp_path, model):
        with pytest.raises(CheckpointError, match=r"no folder .*checkpoints"):
            save_checkpoint(tmp_path / "checkpoints" / "net.safetensors", model)

    def test_without_the_extra_says_what_to_install(self, tmp_path, saved, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        for action in (lambda: load_checkpoint(saved), lambda: save_checkpoint(tmp_path / "b.safetensors", model)):
            with pytest.raises(
                ModelError, match=r'safetensors needs safetensors, .*pip install "./packages/csc-models\[safetensors'
            ):
                action()


class TestForeignFiles:
    def test_weights_of_the_challenges_toolbox_are_recognised(self, tmp_path):
        path, official = tmp_path / "official.safetensors", UNet_2D(1, 2, width=4)
        safetensors_torch.save_file(official.state_dict(), path)
        loaded = load_checkpoint(path)
        assert loaded.origin == "official"
        assert loaded.description.raw_range == (0.0, 255.0)
        assert same_weights(loaded.model.state_dict(), official.state_dict())

    def test_unknown_weights_need_a_model(self, tmp_path):
        path, own = tmp_path / "own.safetensors", nn.Conv3d(1, 2, 3)
        safetensors_torch.save_file(own.state_dict(), path, metadata={"format": "pt", "author": "somebody"})
        identity = identify(path)
        assert identity.origin == "unknown"
        assert "an experiment file that names it" in identity.problem
        with pytest.raises(CheckpointError, match="does not say which network"):
            load_checkpoint(path)
        assert torch.equal(load_checkpoint(path, model=nn.Conv3d(1, 2, 3)).model.weight, own.weight)
        safetensors_torch.save_file({"weight": own.weight.detach()}, path)
        with pytest.raises(CheckpointMismatchError, match="1 missing: bias"):
            load_checkpoint(path, model=nn.Conv3d(1, 2, 3))

    def test_partly_fitting_files_say_what_was_left_out(self, saved):
        other = create_model("3d_unet_s", n_channels=1, n_classes=5, width=4, depth=2, norm="batch")
        left_out = load_checkpoint(saved, model=other, strict=False).left_out
        assert [text.split(":")[0] for text in left_out.reshaped] == ["head.weight", "head.bias"]

    def test_every_truncation_is_an_error(self, saved, model):
        data = saved.read_bytes()
        for length in [0, 1, 8, 9, 100, *range(1000, len(data) - 1, len(data) // 15), len(data) - 1]:
            saved.write_bytes(data[:length])
            with pytest.raises(CheckpointReadError, match=r"net_3\.safetensors"):
                load_checkpoint(saved, model=model)

    @pytest.mark.parametrize("text", ["{broken", "[1, 2]", '{"format": "csc-models", "format_version": 99}', "{}"])
    def test_damaged_descriptions_are_named(self, tmp_path, model, text):
        path = tmp_path / "net.safetensors"
        safetensors_torch.save_file({"weight": torch.zeros(1)}, path, metadata={"csc-models": text})
        with pytest.raises(CheckpointReadError, match=r"net\.safetensors"):
            load_checkpoint(path, model=nn.Linear(1, 1, bias=False))
