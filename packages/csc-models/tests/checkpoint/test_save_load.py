import os
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from csc_models import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointReadError,
    create_model,
)
from csc_models.checkpoint import CheckpointDescription, load_checkpoint, load_weights, save_checkpoint


@pytest.fixture
def model():
    return create_model("3d_unet_s", n_channels=1, n_classes=2, width=4, depth=2, norm="batch")


@pytest.fixture
def description():
    return CheckpointDescription(
        classes=("mito", "er"),
        input_arrays={"raw": {"shape": (32, 32, 32), "scale": (8.0, 8.0, 8.0)}},
        target_arrays={"gt": {"shape": (32, 32, 32), "scale": (8.0, 8.0, 8.0)}},
        raw_range=(0.0, 1.0),
    )


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class TestRoundTrip:
    def test_network_is_rebuilt_from_the_file_alone(self, tmp_path, model, description):
        path = tmp_path / "net_1.pth"
        optimiser = torch.optim.AdamW(model.parameters())
        model(torch.rand(1, 1, 8, 8, 8)).sum().backward()
        optimiser.step()
        extra = {"epoch": 3, "optimizer": optimiser.state_dict(), "rng": torch.get_rng_state()}
        save_checkpoint(path, model, description=description, extra=extra)

        loaded = load_checkpoint(path)

        assert same_weights(loaded.model.state_dict(), model.state_dict())
        x = torch.rand(1, 1, 8, 9, 10)
        assert torch.equal(loaded.model(x), model.eval()(x))
        assert loaded.description.model_name == "3d_unet_s"
        assert loaded.description.model_arguments["width"] == 4
        assert loaded.description.classes == ("mito", "er")
        assert loaded.description.raw_range == (0.0, 1.0)
        assert list(loaded.description.input_arrays["raw"]["shape"]) == [32, 32, 32]
        assert list(loaded.description.target_arrays["gt"]["scale"]) == [8.0, 8.0, 8.0]
        assert loaded.extra["epoch"] == 3
        assert torch.equal(loaded.extra["rng"], extra["rng"])
        optimiser.load_state_dict(loaded.extra["optimizer"])
        assert not loaded.left_out

    def test_another_process_without_our_objects_can_read_it(self, tmp_path, model, description):
        path = tmp_path / "net.pth"
        save_checkpoint(path, model, description=description)
        code = (
            f"import torch; contents = torch.load({str(path)!r}, weights_only=True)\n"
            "print(contents['format'], contents['description']['classes'])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "csc-models ['mito', 'er']"

    def test_weights_go_into_a_given_model(self, tmp_path, model):
        path = tmp_path / "net.pth"
        save_checkpoint(path, model)
        other = create_model("3d_unet_s", n_channels=1, n_classes=2, width=4, depth=2, norm="batch")
        loaded = load_checkpoint(path, model=other)
        assert loaded.model is other
        assert other.training
        assert same_weights(other.state_dict(), model.state_dict())

    def test_wrapped_networks_are_saved_as_the_network(self, tmp_path, model):
        path = tmp_path / "net.pth"
        save_checkpoint(path, nn.DataParallel(torch.compile(model, backend="eager")))
        loaded = load_checkpoint(path)
        assert loaded.description.model_name == "3d_unet_s"
        assert same_weights(loaded.model.state_dict(), model.state_dict())

    def test_network_of_ones_own_needs_model(self, tmp_path):
        path = tmp_path / "own.pth"
        own = nn.Conv3d(1, 2, 3)
        save_checkpoint(path, own, description=CheckpointDescription(classes=("a", "b")))
        with pytest.raises(CheckpointError, match=r"does not say which network.*model="):
            load_checkpoint(path)
        loaded = load_checkpoint(path, model=nn.Conv3d(1, 2, 3))
        assert torch.equal(loaded.model.weight, own.weight)
        assert loaded.description.classes == ("a", "b")

    def test_raw_range_is_given_where_it_is_not_stored(self, tmp_path, model, description):
        bare, full = tmp_path / "bare.pth", tmp_path / "full.pth"
        save_checkpoint(bare, model)
        save_checkpoint(full, model, description=description)
        assert load_checkpoint(bare).description.raw_range is None
        assert load_checkpoint(bare, raw_range=(-1, 1)).description.raw_range == (-1.0, 1.0)
        assert load_checkpoint(full, raw_range=(0, 1)).description.raw_range == (0.0, 1.0)
        with pytest.raises(CheckpointError, match=r"trained with raw_range=\(0\.0, 1\.0\), not \(0\.0, 255\.0\)"):
            load_checkpoint(full, raw_range=(0, 255))
        with pytest.raises(CheckpointError, match="two numbers"):
            load_checkpoint(bare, raw_range=(1, 1))


class TestWriting:
    def test_what_cannot_be_read_back_is_refused_before_writing(self, tmp_path, model):
        path = tmp_path / "net.pth"
        with pytest.raises(CheckpointError, match=r"extra\['random'\]\['numpy'\]\[1\] is of type numpy.ndarray"):
            save_checkpoint(path, model, extra={"random": {"numpy": ("MT19937", np.zeros(3))}})
        with pytest.raises(CheckpointError, match=r"description.*numpy"):
            save_checkpoint(
                path, model, description=CheckpointDescription(input_arrays={"raw": {"shape": np.dtype("u1")}})
            )
        assert list(tmp_path.iterdir()) == []
        save_checkpoint(path, model, description=CheckpointDescription(input_arrays={"raw": {"shape": np.int64(3)}}))
        assert load_checkpoint(path).description.input_arrays == {"raw": {"shape": 3}}

    def test_missing_folder_is_named(self, tmp_path, model):
        with pytest.raises(CheckpointError, match=r"no folder .*checkpoints"):
            save_checkpoint(tmp_path / "checkpoints" / "net.pth", model)

    def test_failed_write_leaves_the_old_file_and_nothing_else(self, tmp_path, model, monkeypatch):
        path = tmp_path / "net.pth"
        save_checkpoint(path, model, extra={"epoch": 1})
        before = path.read_bytes()

        def full_disk(contents, stream):
            stream.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, model, extra={"epoch": 2})
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
    def test_file_is_readable_for_others_as_the_mask_allows(self, tmp_path, model):
        path, plain = tmp_path / "net.pth", tmp_path / "plain"
        save_checkpoint(path, model)
        plain.touch()
        assert path.stat().st_mode == plain.stat().st_mode


class TestBadFiles:
    def test_missing_file(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError, match=r"there is no checkpoint .*nowhere.pth") as caught:
            load_checkpoint(tmp_path / "nowhere.pth")
        assert isinstance(caught.value, FileNotFoundError)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_every_truncation_is_an_error(self, tmp_path, model, legacy):
        whole = tmp_path / "whole.pth"
        torch.save(model.state_dict(), whole, _use_new_zipfile_serialization=not legacy)
        data = whole.read_bytes()
        part = tmp_path / "part.pth"
        for length in [0, 1, 10, 100, *range(1000, len(data) - 1, len(data) // 25), len(data) - 1]:
            part.write_bytes(data[:length])
            with pytest.raises(CheckpointReadError, match=r"part.pth"):
                load_checkpoint(part, model=model)

    def test_text_and_foreign_archives(self, tmp_path):
        text, archive, number = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"
        text.write_text("not a checkpoint\n")
        np.savez(tmp_path / "b.npz", a=np.zeros(3))
        (tmp_path / "b.npz").rename(archive)
        torch.save(5, number)
        for path in (text, archive, number):
            with pytest.raises(CheckpointReadError, match=path.name) as raised:
                load_checkpoint(path)
            assert "weights_only" not in str(raised.value)  # torch tells how to let any code run

    def test_a_file_that_would_run_code_does_not(self, tmp_path):
        path, proof = tmp_path / "evil.pth", tmp_path / "proof"

        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(proof),)

        torch.save({"model": Evil()}, path)
        with pytest.raises(CheckpointReadError, match="objects other than weights"):
            load_checkpoint(path)
        assert not proof.exists()

    def test_format_of_a_newer_version(self, tmp_path, model):
        path = tmp_path / "net.pth"
        save_checkpoint(path, model)
        contents = torch.load(path, weights_only=True)
        torch.save({**contents, "format_version": 99}, path)
        with pytest.raises(CheckpointReadError, match=r"version 99.*install a newer one"):
            load_checkpoint(path)
        torch.save({**contents, "format": "theirs"}, path)
        with pytest.raises(CheckpointReadError, match="'theirs'"):
            load_checkpoint(path)
        del contents["extra"]
        torch.save(contents, path)
        with pytest.raises(CheckpointReadError, match="lacks extra"):
            load_checkpoint(path)


class TestMismatch:
    def test_missing_surplus_and_reshaped_keys_are_named(self, tmp_path, model):
        path = tmp_path / "net.pth"
        state = model.state_dict()
        state["foreign.weight"] = torch.zeros(1)
        del state["down.0.0.0.weight"]
        state["head.bias"] = torch.zeros(7)
        torch.save(OrderedDict(state), path)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(CheckpointMismatchError) as caught:
            load_checkpoint(path, model=model)
        assert caught.value.missing == ("down.0.0.0.weight",)
        assert caught.value.surplus == ("foreign.weight",)
        assert caught.value.reshaped == ("head.bias: (7,) in the file, (2,) in the network",)
        for name in ("down.0.0.0.weight", "foreign.weight", "head.bias: (7,)", "net.pth"):
            assert name in str(caught.value)
        assert same_weights(before, model.state_dict())

    def test_loading_what_fits_says_what_was_left_out(self, tmp_path, model, caplog):
        path = tmp_path / "net.pth"
        wider = create_model("3d_unet_s", n_channels=1, n_classes=5, width=4, depth=2, norm="batch")
        save_checkpoint(path, wider)
        loaded = load_checkpoint(path, model=model, strict=False)
        assert [text.split(":")[0] for text in loaded.left_out.reshaped] == ["head.weight", "head.bias"]
        assert torch.equal(model.state_dict()["down.0.0.0.weight"], wider.state_dict()["down.0.0.0.weight"])
        assert "head.bias" in caplog.text

    def test_nothing_that_fits_is_an_error_even_if_not_strict(self, model):
        with pytest.raises(CheckpointMismatchError, match="surplus"):
            load_weights(model, {"foreign": torch.zeros(1)}, strict=False)

    def test_weights_of_a_wrapped_network_fit_the_network(self, model):
        other = create_model("3d_unet_s", n_channels=1, n_classes=2, width=4, depth=2, norm="batch")
        load_weights(other, nn.DataParallel(torch.compile(model, backend="eager")).state_dict())
        assert same_weights(other.state_dict(), model.state_dict())
