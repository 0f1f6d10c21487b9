"""Files that are not as they were saved are refused, before any of it is believed."""

import zipfile

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, CheckpointReadError, ModelError, create_model
from csc_models.checkpoint import CheckpointDescription, identify, load_checkpoint, read_checkpoint, save_checkpoint
from csc_models.checkpoint.digests import digest

SUFFIXES = (".pth", ".safetensors")


class Odd(nn.Module):
    """Buffers of all kinds."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(2, 2)
        self.two = self.one
        self.register_buffer("half_precision", torch.arange(3, dtype=torch.bfloat16))
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("part", torch.arange(9)[2:5])
        self.register_buffer("number", torch.tensor(7))
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.register_buffer("flags", torch.tensor([True, False]))


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="needs csc-models[safetensors]")
    return tmp_path / f"net{request.param}"


def small(**arguments):
    return create_model("2d_unet_s", **{"n_channels": 1, "n_classes": 2, "width": 4, "depth": 2, **arguments})


def test_weights_of_all_kinds_are_verified(path):
    odd = Odd()
    save_checkpoint(path, odd, extra={"scores": [float("nan"), -0.0, 1, 1.0], "epoch": 3})
    assert not read_checkpoint(path).notes
    loaded = load_checkpoint(path, model=Odd()).model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in odd.state_dict().items())
    data = bytearray(path.read_bytes())
    place = data.index(torch.arange(6.0).reshape(2, 3).T.contiguous().numpy().tobytes()[:16]) if path.suffix != ".pth" \
        else data.index(torch.arange(6.0).numpy().tobytes())  # fmt: skip
    data[place + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointReadError, match=r"is damaged: not as saved: turned; copy or download it again"):
        load_checkpoint(path, model=Odd())


@pytest.mark.parametrize("what", ["description", "extra"])
def test_what_lies_beside_the_weights_is_verified(tmp_path, what):
    save_checkpoint(tmp_path / "net.pth", small(), extra={"epoch": 3, "state": torch.zeros(2)})
    contents = torch.load(tmp_path / "net.pth", weights_only=True)
    contents[what].update({"raw_range": [0.0, 1.0]} if what == "description" else {"state": torch.zeros(1, 2)})
    torch.save(contents, tmp_path / "net.pth")
    with pytest.raises(CheckpointReadError, match=f"not as saved: the {what}"):
        read_checkpoint(tmp_path / "net.pth")
    torch.save({**contents, "digests": 3}, tmp_path / "net.pth")
    with pytest.raises(CheckpointReadError, match="digests are of no known form"):
        read_checkpoint(tmp_path / "net.pth")
    torch.save({**contents, "digestz": {}}, tmp_path / "net.pth")
    with pytest.raises(CheckpointReadError, match=r"no known name.*digestz"):
        read_checkpoint(tmp_path / "net.pth")


def test_files_without_digests_are_checked_by_the_crc_of_the_zip(tmp_path):
    path, legacy = tmp_path / "old.pth", tmp_path / "legacy.pth"
    torch.save(small().state_dict(), path)
    assert not any("cannot be told" in note for note in read_checkpoint(path).notes)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        record = next(entry for entry in archive.infolist() if entry.filename.endswith("data/3"))
    data[record.header_offset + 200] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointReadError, match=r"is damaged: the CRC of old/data/3 is wrong"):
        read_checkpoint(path)
    torch.save(small().state_dict(), legacy, _use_new_zipfile_serialization=False)
    assert any("damage to its weights cannot be told" in note for note in read_checkpoint(legacy).notes)


def test_a_digest_is_of_values_types_and_shapes():
    values = [torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int32), torch.zeros(0), [], {}, None, 0]
    values += [0.0, False, "", [0], {"a": 0}, {"b": 0}, [[]], "0"]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(torch.eye(3).to_sparse()) == digest(torch.eye(3))


class TestNumbersThatAreTooLarge:
    @pytest.mark.parametrize(
        ("name", "arguments", "words"),
        [
            ("2d_unet_s", {"width": 100_000}, "100000 in the description"),
            ("2d_unet_s", {"width": 4000}, "of another shape"),
            ("2d_unet_s", {"depth": 10**9}, "1000000000 in the description"),
            ("2d_unet_s", {"depth": 500}, "cannot be built|larger"),
            ("2d_resnet", {"n_blocks": 10**9}, "1000000000 in the description"),
            ("2d_resnet", {"n_blocks": 4000}, "many more layers than there are weights"),
            ("2d_resnet", {"n_downsampling": 4000}, "cannot be built|many more layers"),
        ],
    )
    def test_no_memory_is_asked_for(self, tmp_path, monkeypatch, name, arguments, words):
        path = tmp_path / "net.pth"
        save_checkpoint(path, create_model(name, n_channels=1, n_classes=2, **{"2d_resnet": {"ngf": 4}}.get(name, {})))
        contents = torch.load(path, weights_only=True)
        contents["description"]["model_arguments"].update(arguments)
        del contents["digests"]
        torch.save(contents, path)
        monkeypatch.setattr(nn.Module, "to_empty", None)  # nothing may be built
        assert identify(path).problem
        with pytest.raises(ModelError, match=words):
            load_checkpoint(path)
        with pytest.raises(ModelError):
            load_checkpoint(path, strict=False)

    def test_networks_with_values_of_their_own_are_built_as_before(self, tmp_path):
        save_checkpoint(tmp_path / "net.pth", small(n_classes=5))
        contents = torch.load(tmp_path / "net.pth", weights_only=True)
        del contents["model"]["head.bias"], contents["digests"]
        torch.save(contents, tmp_path / "net.pth")
        loaded = load_checkpoint(tmp_path / "net.pth", strict=False)
        assert loaded.left_out.missing == ("head.bias",)
        assert loaded.model.head.bias.isfinite().all()


class TestNames:
    def test_as_many_as_channels_on_saving(self, path):
        description = CheckpointDescription(classes=("mito", "er", "nuc"))
        with pytest.raises(CheckpointError, match=r"net\..*gives 2 channels, and 3 are named \(mito, er, nuc\)"):
            save_checkpoint(path, small(), description=description)
        assert not path.exists()
        save_checkpoint(path, nn.Linear(2, 2), description=description)  # what it gives is not known

    def test_and_on_loading(self, tmp_path):
        path = tmp_path / "net.pth"
        save_checkpoint(path, small(), description=CheckpointDescription(classes=("mito", "er")))
        contents = torch.load(path, weights_only=True)
        contents["description"]["classes"].append("nuc")
        del contents["digests"]
        torch.save(contents, path)
        assert "gives 2 channels, and 3 are named" in identify(path).problem
        for model in (None, small()):
            with pytest.raises(CheckpointError, match="gives 2 channels, and 3 are named"):
                load_checkpoint(path, model=model)
