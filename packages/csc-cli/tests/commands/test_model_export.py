import importlib.util

import pytest
import torch

from csc_models import create_model
from csc_models.checkpoint import CheckpointDescription, save_checkpoint

PACKAGE = ("--name", "My mitochondria", "--author", "A", "--author", "B", "--license", "MIT", "--cite", "https://a.org")


@pytest.fixture
def checkpoint(tmp_path):
    model = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4)
    description = CheckpointDescription(classes=("mito", "er"), raw_range=(0, 1))
    save_checkpoint(tmp_path / "net_3.pth", model, description=description)
    return "net_3.pth"


@pytest.mark.parametrize(
    ("format_", "written", "needs"),
    [
        ("torchscript", "net_3.pt", ()),
        ("export", "net_3.pt2", ()),
        ("onnx", "net_3.onnx", ("onnx", "onnxscript", "onnxruntime")),
        ("bioimageio", "net_3.zip", ("bioimageio.spec",)),
    ],
)
def test_every_format_says_what_was_written_and_how_to_open_it(run, tmp_path, checkpoint, format_, written, needs):
    if not all(importlib.util.find_spec(module.split(".")[0]) for module in needs):
        pytest.skip(f"needs {', '.join(needs)}")
    more = PACKAGE if format_ == "bioimageio" else ()
    result = run("models", "export", checkpoint, "--format", format_, *more)
    assert result.exit_code == 0, result.output
    assert (tmp_path / written).stat().st_size > 1000
    for words in (f"Wrote {written}", "It was run", "any batch size; y, x may be", "Open it with: "):
        assert words in result.output
    again = run("models", "export", checkpoint, "-f", format_, *more)
    assert again.exit_code == 1
    assert f"{written} exists" in again.stderr


def test_output_overwrite_and_opset(run, tmp_path, checkpoint):
    (tmp_path / "out.pt").write_text("old")
    assert run("models", "export", checkpoint, "-f", "torchscript", "-o", "out.pt", "--overwrite").exit_code == 0
    assert (tmp_path / "out.pt").stat().st_size > 1000
    over_itself = run("models", "export", checkpoint, "-f", "torchscript", "-o", checkpoint, "--overwrite")
    assert over_itself.exit_code == 1
    assert run("models", "check", checkpoint).exit_code == 0
    missing = run("models", "export", checkpoint, "-f", "torchscript", "-o", "nowhere/out.pt")
    assert missing.exit_code == 1
    assert "no folder" in missing.stderr


def test_wrong_use_names_the_option(run, checkpoint):
    for arguments, words in (
        (("-f", "torchscript", "--opset", "18"), "--opset is for --format onnx"),
        (("-f", "export", "--author", "A", "--license", "MIT"), "--author, --license: for --format bioimageio only"),
        (("-f", "bioimageio", "--name", "My model"), "a BioImage.IO package needs --author, --license, --cite"),
    ):
        result = run("models", "export", checkpoint, *arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_what_cannot_be_exported_is_one_line(run, tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    result = run("models", "export", "other.pth", "-f", "torchscript")
    assert result.exit_code == 1
    assert "does not say which network" in result.stderr
    assert not (tmp_path / "other.pt").exists()
    assert run("models", "export", "absent.pth", "-f", "torchscript").exit_code == 1


def test_a_raw_range_is_asked_for_where_it_is_not_stored(run, tmp_path):
    pytest.importorskip("bioimageio.spec")
    save_checkpoint(tmp_path / "bare.pth", create_model("2d_unet_s", n_channels=1, n_classes=2, width=4))
    result = run("models", "export", "bare.pth", "-f", "bioimageio", *PACKAGE)
    assert result.exit_code == 1
    assert "raw_range" in result.stderr
    assert run("models", "export", "bare.pth", "-f", "bioimageio", *PACKAGE, "--raw-range", "0", "1").exit_code == 0
