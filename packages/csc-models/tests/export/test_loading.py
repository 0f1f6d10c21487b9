"""Exported files are networks again, with what they were trained for."""

import pytest
import torch

from csc_models import CheckpointError, ModelError
from csc_models.checkpoint import save_checkpoint
from csc_models.export import (
    Author,
    Citation,
    ExportError,
    PackageDetails,
    Trial,
    is_exported,
    load_exported,
    to_bioimageio,
    to_exported_program,
    to_onnx,
    to_torchscript,
)


def to_package(model, path, **options):
    pytest.importorskip("bioimageio.spec", reason="needs csc-models[bioimageio]")
    cite = (Citation(text="x", url="https://example.org"),)
    details = PackageDetails(name="a network", authors=(Author(name="A"),), license="MIT", cite=cite)
    return to_bioimageio(model, path, details, **options)


def to_onnx_file(model, path, **options):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs csc-models[onnx]")
    return to_onnx(model, path, **options)


FORMATS = {"net.pt": to_torchscript, "net.pt2": to_exported_program, "net.onnx": to_onnx_file, "net.zip": to_package}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gives_what_the_network_gives(description, tmp_path, name):
    model = torch.nn.Conv2d(1, 2, 3, padding=1)
    FORMATS[name](model, tmp_path / name, description=description, trial=Trial(shape=(2, 1, 48, 32)))
    assert is_exported(tmp_path / name)
    loaded = load_exported(tmp_path / name)
    assert (loaded.description.classes, loaded.description.raw_range) == (("mito", "er"), (0.0, 1.0))
    assert loaded.description.input_arrays["raw"]["scale"] == [8.0, 4.0, 4.0]
    loaded.model.eval().train()
    for batch in (1, 3):
        x = torch.rand(batch, 1, 48, 32)
        with torch.no_grad():
            torch.testing.assert_close(loaded.model(x), model(x), atol=1e-5, rtol=1e-4)


class Fixed(torch.nn.Module):
    """A network whose trace takes two patches of 8x8 and nothing else."""

    def forward(self, x):
        return torch.cat([x, x.sum() * 0 + torch.arange(128.0).view(2, 1, 8, 8)], dim=1)


def test_batches_of_any_size_go_through_a_file_that_takes_one_size(description, tmp_path):
    exported = to_torchscript(Fixed(), tmp_path / "net.pt", description=description, trial=Trial(shape=(2, 1, 8, 8)))
    assert exported.dynamic_axes == ()
    model = load_exported(tmp_path / "net.pt").model
    x = torch.rand(3, 1, 8, 8)
    assert model(x).shape == (3, 2, 8, 8)
    torch.testing.assert_close(model(x)[:, :1], x)
    with pytest.raises(ExportError, match="takes patches of 8x8 voxels and no others, got 8x16"):
        model(torch.rand(2, 1, 8, 16))


def test_checkpoints_are_no_exports_and_broken_files_are_errors_that_name_them(build, tmp_path):
    save_checkpoint(tmp_path / "net.pt", build("2d_unet_s", width=4))
    assert not is_exported(tmp_path / "net.pt")
    for name in ("net.pt2", "net.zip", "gone.pt2"):
        if name != "gone.pt2":
            (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(CheckpointError, match=name) as caught:
            load_exported(tmp_path / name)
        assert isinstance(caught.value, ModelError)
