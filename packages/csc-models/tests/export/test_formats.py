"""TorchScript, torch.export and ONNX: files that give the network's outputs, and say what they are."""

import json
import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, ModelError
from csc_models.ensemble import Ensemble
from csc_models.export import ExportError, Trial, to_exported_program, to_onnx, to_torchscript

NETWORKS = {
    "2d_unet_s": {"width": 4},
    "2d_unet": {"width": 4, "trilinear": True},
    "2d_resnet": {"ngf": 4, "n_blocks": 1},
    "2d_mednext": {"size": "s", "width": 2},
    "3d_resenc_unet": {"features": (2, 4), "blocks": (1, 1), "deep_supervision": True},
    "3d_unet_s": {"width": 4, "norm": "batch"},
}
FORMATS = {"torchscript": (to_torchscript, ".pt"), "export": (to_exported_program, ".pt2"), "onnx": (to_onnx, ".onnx")}


@pytest.fixture(params=FORMATS)
def format_(request):
    if request.param == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module, reason="needs csc-models[onnx]")
    return request.param


@pytest.fixture
def export(format_, tmp_path):
    def to_file(model, **options):
        function, suffix = FORMATS[format_]
        return function(model, tmp_path / f"net{suffix}", **options)

    return to_file


def opened(exported):
    """A function that runs the file, and the text it says about itself."""
    if exported.format == "torchscript":
        extra = {"csc-models": ""}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.load")
            loaded = torch.jit.load(exported.path, _extra_files=extra)
        return loaded, json.loads(extra["csc-models"])
    if exported.format == "export":
        extra = {"csc-models": ""}
        return torch.export.load(exported.path, extra_files=extra).module(), json.loads(extra["csc-models"])
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs csc-models[onnx]")
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["csc-models"])
    return lambda x: torch.from_numpy(session.run(["output"], {"input": x.numpy()})[0]), about


# ONNX files are made from exported programs, so that two of these by themselves are enough.
CASES = [(kind, name) for kind in FORMATS for name in NETWORKS if kind != "export" or name in ("2d_unet", "3d_unet_s")]


@pytest.mark.thorough
@pytest.mark.parametrize(("format_", "name"), CASES, indirect=["format_"])
def test_every_size_that_the_file_promises_gives_the_networks_output(name, build, export, description):
    model = build(name, **NETWORKS[name]).eval()
    exported = export(model, description=description)
    run, about = opened(exported)
    ndim = int(name[0])
    assert exported.dynamic_axes == ("batch", *"zyx"[-ndim:])
    assert about["dynamic_axes"] == list(exported.dynamic_axes)
    assert about["input_sizes"] == {"minimum": exported.smallest, "step": exported.step}
    # The smallest size, and sizes that the export itself did not try, in a batch of three.
    for blocks in ((0, 0, 0), (1, 0, 3), (2, 3, 1)):
        x = torch.rand(3, 1, *(exported.smallest + n * exported.step for n in blocks[:ndim]))
        with torch.no_grad():
            expected = model(x)
        expected = expected[0] if isinstance(expected, list) else expected
        torch.testing.assert_close(run(x), expected, atol=1e-5, rtol=1e-4)
    assert exported.largest_difference < 1e-4


def test_the_file_says_what_it_is_and_nothing_else_changes(build, export, description, tmp_path, capfd):
    model = build("2d_unet_s", width=4, norm="batch").train().to(torch.bfloat16)
    before = {key: values.clone() for key, values in model.state_dict().items()}
    exported = export(model, description=description)
    _, about = opened(exported)
    assert about["model_name"] == "2d_unet_s"
    assert about["classes"] == ["mito", "er"]
    assert about["raw_range"] == [0.0, 1.0]
    assert about["input_axes"] == ["batch", "channel", "y", "x"]
    assert model.training
    assert all(torch.equal(values, before[key]) for key, values in model.state_dict().items())
    assert list(tmp_path.iterdir()) == [exported.path]
    assert capfd.readouterr() == ("", "")


def test_ensembles(build, export):
    small = {"width": 4, "depth": 2}
    ensemble = Ensemble([build("2d_unet_s", seed=seed, **small) for seed in range(2)], weights=[1, 3]).eval()
    exported = export(ensemble)
    run, about = opened(exported)
    assert about["model_name"] == "ensemble"
    x = torch.rand(1, 1, 20, 14)
    torch.testing.assert_close(run(x), ensemble(x).detach(), atol=1e-5, rtol=1e-4)


class Positions(nn.Module):
    """Knows its input's size, as networks with learned positions do."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)
        self.positions = nn.Parameter(torch.rand(1, 1, 8, 12))

    def forward(self, x):
        return self.convolution(x + self.positions)


class Unsteady(nn.Module):
    """Gives something else each time."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.convolution(x) + torch.rand_like(x)


class Named(nn.Module):
    """Gives a dictionary."""

    def forward(self, x):
        return {"logits": x}


class TestOnesOwn:
    def test_needs_the_shape_and_is_free_in_the_batch_only(self, export):
        model = Positions().eval()
        with pytest.raises(ExportError, match=r"not in the catalogue: give trial=Trial\(shape="):
            export(model)
        exported = export(model, trial=Trial(shape=(2, 1, 8, 12)))
        assert exported.dynamic_axes == ("batch",)
        x = torch.rand(5, 1, 8, 12)
        torch.testing.assert_close(opened(exported)[0](x), model(x).detach())

    def test_an_input_that_it_does_not_take_is_named(self, export):
        with pytest.raises(ExportError, match=r"does not take an input of \(2, 1, 9, 9\)"):
            export(Positions(), trial=Trial(shape=(2, 1, 9, 9)))
        with pytest.raises(ExportError, match=r"shape=\(2, 1, 8\) is not \(batch, 1"):
            export(Positions(), trial=Trial(shape=(2, 1, 8)))

    def test_outputs_that_differ_are_an_error_and_leave_no_file(self, export, tmp_path):
        old = tmp_path / "net.onnx"
        old.write_text("old")
        with pytest.raises(ExportError, match=r"differs from the original|not take the network at all"):
            export(Unsteady(), trial=Trial(shape=(2, 1, 8, 8)))
        assert list(tmp_path.iterdir()) == [old]
        assert old.read_text() == "old"

    def test_other_outputs_than_one_array_are_refused(self, export):
        with pytest.raises(ExportError, match="only networks that give one array"):
            export(Named(), trial=Trial(shape=(1, 1, 8, 8)))


def test_wrong_shapes_and_folders_are_named(build, export, tmp_path, format_):
    model = build("2d_unet_s", width=4)
    with pytest.raises(ExportError, match=r"shape=\(1, 2, 16, 16\) is not \(batch, 1, y, x\)"):
        export(model, trial=Trial(shape=(1, 2, 16, 16)))
    function, suffix = FORMATS[format_]
    with pytest.raises(CheckpointError, match="no folder"):
        function(model, tmp_path / "nowhere" / f"net{suffix}")


def test_an_impossible_tolerance_is_an_error(build, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs csc-models[onnx]")
    pytest.importorskip("onnxscript", reason="needs csc-models[onnx]")
    with pytest.raises(ExportError, match=r"differs from the original by .* the tolerance is 1e-12"):
        to_onnx(build("2d_unet_s", width=4), tmp_path / "net.onnx", trial=Trial(tolerance=1e-12))
    assert list(tmp_path.iterdir()) == []


class TestOnnx:
    @pytest.mark.parametrize("opset", [18, 21])
    def test_operators_of_the_version_that_was_asked_for(self, build, tmp_path, opset):
        onnx = pytest.importorskip("onnx", reason="needs csc-models[onnx]")
        pytest.importorskip("onnxscript", reason="needs csc-models[onnx]")
        pytest.importorskip("onnxruntime", reason="needs csc-models[onnx]")
        exported = to_onnx(build("2d_unet_s", width=4), tmp_path / "net.onnx", opset=opset)
        written = onnx.load(exported.path)
        assert [entry.version for entry in written.opset_import if entry.domain == ""] == [opset]
        onnx.checker.check_model(written)
        sizes = [
            [axis.dim_param or axis.dim_value for axis in i.type.tensor_type.shape.dim] for i in written.graph.input
        ]
        assert isinstance(sizes[0][0], str)
        assert sizes[0][1] == 1
        assert [entry.name for entry in (*written.graph.input, *written.graph.output)] == ["input", "output"]

    @pytest.mark.skipif(os.name != "posix", reason="the home folder is a variable")
    def test_the_runtime_leaves_nothing_in_the_home_folder(self, build, tmp_path):
        """It would write a device id there, and report the model to its maker."""
        for module in ("onnx", "onnxscript"):
            pytest.importorskip(module, reason="needs csc-models[onnx]")
        code = (
            "import os\nfrom csc_models.export.onnx import check_onnx_installed\n"
            "before = dict(os.environ)\ncheck_onnx_installed('a test')\nassert dict(os.environ) == before\n"
        )
        home = tmp_path / "home"
        home.mkdir()
        kept = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
        own = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        subprocess.run([sys.executable, "-c", code], env=own, check=True)
        assert [path for path in home.rglob("*") if "onnxruntime" in str(path)] == []

    @pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
    def test_without_the_extra_says_what_to_install(self, build, tmp_path, monkeypatch, module):
        for other in {"onnx", "onnxscript", "onnxruntime"} - {module}:
            monkeypatch.setitem(sys.modules, other, sys)
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ModelError, match=rf'needs {module}, .*pip install "./packages/csc-models\[onnx\]"'):
            to_onnx(build("2d_unet_s", width=4), tmp_path / "net.onnx")


def test_the_name_of_an_exported_program(build, tmp_path):
    with pytest.raises(ExportError, match=r"has to end in \.pt2"):
        to_exported_program(build("2d_unet_s", width=4), tmp_path / "net.pt")
