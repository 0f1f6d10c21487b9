"""Files of torch, new and old, are read as torch reads them; damaged and hostile ones end in our errors."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from csc_models import CheckpointNotFoundError, CheckpointReadError
from csc_models.foreign.torch_files import read_foreign_file


def weights():
    base = torch.arange(24, dtype=torch.float32)
    return {
        "floats": base.reshape(2, 3, 4),
        "part": base[3:9],
        "turned": base.reshape(4, 6).t(),
        "halves": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "counts": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_torch_reads(tmp_path, zipped):
    saved = {"epoch": np.int64(3), "state_dict": weights(), "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_foreign_file(tmp_path / "a.pth")
    assert (found.contents["epoch"], found.skipped) == (3, {})
    tensors = found.tensors(found.contents["state_dict"])
    for key, expected in saved["state_dict"].items():
        assert tensors[key].dtype == expected.dtype
        assert torch.equal(tensors[key], expected)


def test_only_tensors_that_are_asked_for_are_read(tmp_path):
    torch.save({"wanted": torch.ones(3), "other": torch.ones(1000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["a/data/1"] = b"damaged"
    write_zip(tmp_path / "a.pth", members)
    found = read_foreign_file(tmp_path / "a.pth")
    assert torch.equal(found.tensors({"wanted": found.contents["wanted"]})["wanted"], torch.ones(3))
    with pytest.raises(CheckpointReadError, match="truncated, or damaged"):
        found.tensors(found.contents)


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_tensor_that_is_larger_than_its_numbers_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointReadError, match="larger than what is stored"):
        read_foreign_file(tmp_path / "a.pth")


def test_compressed_files_are_refused(tmp_path):
    """A megabyte can hold a gigabyte of zeros."""
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pth")
    members = members_of(tmp_path / "a.pth")
    write_zip(tmp_path / "a.pth", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointReadError, match="compressed"):
        read_foreign_file(tmp_path / "a.pth")


def test_other_orders_of_bytes_are_refused(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth")
    write_zip(tmp_path / "a.pth", {**members_of(tmp_path / "a.pth"), "a/byteorder": b"middle"})
    with pytest.raises(CheckpointReadError, match="another order of bytes"):
        read_foreign_file(tmp_path / "a.pth")


def test_torchscript_is_told(tmp_path):
    write_zip(tmp_path / "a.pt", {"a/data.pkl": b"N.", "a/code/__torch__.py": b""})
    with pytest.raises(CheckpointReadError, match="TorchScript"):
        read_foreign_file(tmp_path / "a.pt")


def test_other_files_are_told(tmp_path):
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    write_zip(tmp_path / "zip.pth", {"readme.txt": b"hello"})
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "nothing.pth").write_bytes(b"")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x04]\x94.")
    for name, words in {
        "old.tar": "tar archive, as torch wrote them before 2017",
        "zip.pth": "a zip, but not one of torch",
        "text.pth": "damaged",
        "nothing.pth": "damaged|no end",
        "pickle.pth": "a pickle, but not one of torch",
    }.items():
        with pytest.raises(CheckpointReadError, match=words):
            read_foreign_file(tmp_path / name)
    with pytest.raises(CheckpointNotFoundError):
        read_foreign_file(tmp_path / "absent.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_told_or_does_not_change_weights(tmp_path, zipped):
    """Flips of any byte, and cuts: an error of ours, or the same weights, but for an old file's numbers, which nothing
    vouches for.
    """
    path = tmp_path / "a.pth"
    state = {"a": torch.randn(4, 3), "b": torch.arange(5)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    generator = np.random.default_rng(1)
    end = len(data) if zipped else data.index(b"storage")
    for place in generator.integers(0, end, 60):
        damaged = bytearray(data)
        damaged[place] ^= int(generator.integers(1, 256))
        for each in (data[:place], bytes(damaged)):
            path.write_bytes(each)
            try:
                found = read_foreign_file(path)
                tensors = found.tensors({key: found.contents[key] for key in state})
            except (CheckpointReadError, KeyError, TypeError, AttributeError):
                continue
            if zipped:
                assert all(torch.equal(tensors[key], state[key]) for key in state)


def test_safetensors_are_read(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    library.save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    found = read_foreign_file(Path(tmp_path / "a.safetensors"))
    assert torch.equal(found.tensors(found.contents)["a"], torch.ones(2))
