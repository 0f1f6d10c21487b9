"""BioImage.IO packages: valid, complete, and run by the reference implementation."""

import gc
import io
import re
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from csc_models import ModelError
from csc_models.checkpoint import CheckpointDescription
from csc_models.ensemble import Ensemble
from csc_models.export import Author, Citation, ExportError, PackageDetails, Trial, to_bioimageio
from csc_models.export.exportable import exportable
from csc_models.export.tiles import choose_halo, seams

DETAILS = PackageDetails(
    name="Mitochondria and ER",
    authors=(Author(name="Ada Byron", affiliation="An institute", orcid="0000-0002-1825-0097"),),
    license="CC-BY-4.0",
    cite=(Citation(text="U-Net", doi="10.1007/978-3-319-24574-4_28"),),
)


# bioimageio.spec leaves the files that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _collect_open_files():
    yield
    gc.collect()


@pytest.fixture
def spec():
    return pytest.importorskip("bioimageio.spec", reason="needs csc-models[bioimageio]")


@pytest.fixture
def read(spec):
    """A function that validates a package as its readers do, and gives its description."""

    def validated(path):
        found = spec.load_model_description(path, format_version="latest", perform_io_checks=True)
        summary = found.validation_summary
        assert summary.status == "valid-format", summary.format()  # "passed" is what has been run as well
        return found

    return validated


def array(path, name):
    with zipfile.ZipFile(path) as package:
        return np.load(io.BytesIO(package.read(name)))


def test_a_package_says_everything_that_is_known(build, read, description, tmp_path):
    path = tmp_path / "model.zip"
    model = build("3d_unet_s", width=4).eval()
    exported = to_bioimageio(model, path, DETAILS, description=description)
    package = read(path)

    assert package.name == "Mitochondria and ER"
    assert package.license == "CC-BY-4.0"
    assert [author.name for author in package.authors] == ["Ada Byron"]
    assert str(package.cite[0].doi) == "10.1007/978-3-319-24574-4_28"
    assert "mito, er" in package.description
    given, made = package.inputs[0], package.outputs[0]
    assert [axis.id for axis in given.axes] == ["batch", "channel", "z", "y", "x"]
    assert [axis.scale for axis in given.axes[2:]] == [8.0, 4.0, 4.0]
    assert {axis.unit for axis in (*given.axes[2:], *made.axes[2:])} == {"nanometer"}
    assert made.axes[1].channel_names == ["mito", "er"]
    assert [step.id for step in given.preprocessing] == ["ensure_dtype", "scale_linear", "ensure_dtype"]
    assert given.preprocessing[1].kwargs.gain == pytest.approx(1 / 255)
    assert made.postprocessing[0].id == "sigmoid"
    # Multiples of 4, larger than twice the halo, which is half the receptive field of 40.
    for axis, out in zip(given.axes[2:], made.axes[2:], strict=True):
        assert (axis.size.min, axis.size.step, out.halo) == (44, 4, 20)
    assert (exported.smallest, exported.step) == (44, 4)

    raw, output = array(path, "test_input.npy"), array(path, "test_output.npy")
    assert raw.dtype == np.uint8
    with torch.no_grad():
        expected = torch.sigmoid(model(torch.from_numpy(raw).float() / 255))
    np.testing.assert_allclose(output, expected.numpy(), atol=1e-5)
    assert list(tmp_path.iterdir()) == [path]


class TestTiles:
    """What the reference implementation gives in tiles, against what it gives of the whole image."""

    @pytest.fixture
    def largest_seam(self, build, tmp_path):
        core = pytest.importorskip("bioimageio.core", reason="bioimageio.core is a test dependency")

        def find(norm, halo):
            path = tmp_path / "model.zip"
            model = build("2d_unet_s", width=4, depth=4, norm=norm)
            for part in model.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.reset_running_stats()
            for _ in range(20):  # statistics of what it will see: with others nothing passes the activations
                model(torch.rand(2, 1, 64, 64))
            details = replace(DETAILS, halo=halo)
            exported = to_bioimageio(model, path, details, description=CheckpointDescription(raw_range=(0.0, 1.0)))
            package = core.load_model_description(path)
            raw = np.random.default_rng(0).integers(0, 256, (1, 1, 160, 160), dtype=np.uint8)
            whole = core.predict(model=package, inputs={"raw": raw})
            tiles = core.predict(model=package, inputs={"raw": raw}, blocksize_parameter=7)
            one, two = (sample.members["probabilities"].data.to_numpy() for sample in (whole, tiles))
            with zipfile.ZipFile(path) as files:
                assert all(note[1:] in files.read("README.md").decode() for note in exported.notes)
            assert package.outputs[0].axes[2].halo == (halo or 32)
            assert package.config.model_extra["csc-models"] == {"receptive_field": 84, "notes": list(exported.notes)}
            return np.abs(one - two).max(), " ".join(exported.notes)

        return find

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
    @pytest.mark.parametrize(
        ("norm", "halo", "seams", "words"),
        [
            ("batch", 48, False, "^$"),
            ("batch", None, True, r"32 voxels are cut off.* \(receptive field 84\); halo=48 gives"),
            ("group", 48, True, "GroupNorm take means over a tile"),
        ],
    )
    def test_show_seams_where_the_package_says_so(self, largest_seam, norm, halo, seams, words):
        largest, notes = largest_seam(norm, halo)
        assert (largest > 1e-5) == seams, largest
        assert re.search(words, notes)


def test_networks_that_cut_their_borders_have_no_halo_and_say_so(build):
    source = exportable(build("cosem_setup28", features=(2, 3), factors=(2,)), None, Trial())
    halo = choose_halo(source, None, free=True)
    assert halo == 0
    assert seams(source, halo) == (
        "bioimageio.core predicts whole images only, since the network gives 36 voxels less than it takes",
    )


def test_names_and_addresses_stand_for_authors_and_citations():
    details = PackageDetails(name="A model", authors=("Me",), license="MIT", cite=("10.1/2", "https://a.b"))
    assert details.authors == (Author(name="Me"),)
    assert details.cite == (Citation(text="10.1/2", doi="10.1/2"), Citation(text="https://a.b", url="https://a.b"))
    assert replace(details, authors="Me", cite=["10.1/2"]).authors == details.authors


@pytest.mark.parametrize(("raw_range", "steps"), [((0.0, 255.0), []), ((-1.0, 1.0), [("scale_linear", 2 / 255, -1.0)])])
def test_preprocessing_follows_from_the_raw_range(build, read, tmp_path, raw_range, steps):
    path = tmp_path / "model.zip"
    description = CheckpointDescription(raw_range=raw_range)
    details = replace(DETAILS, activation="none", halo=0)
    to_bioimageio(build("2d_unet_s", width=4), path, details, description=description)
    package = read(path)
    found = [step for step in package.inputs[0].preprocessing if step.id != "ensure_dtype"]
    assert [step.id for step in found] == [name for name, *_ in steps]
    for step, (_, gain, offset) in zip(found, steps, strict=True):
        assert (step.kwargs.gain, step.kwargs.offset) == (pytest.approx(gain), offset)
    assert [step.id for step in package.outputs[0].postprocessing] == ["ensure_dtype"]
    assert not hasattr(package.outputs[0].axes[2], "halo")
    assert package.outputs[0].axes[1].channel_names == ["class0", "class1"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_reference_implementation_runs_both_kinds_of_weights(build, description, tmp_path):
    core = pytest.importorskip("bioimageio.core", reason="bioimageio.core is a test dependency")
    pytest.importorskip("onnxruntime", reason="needs csc-models[onnx]")
    pytest.importorskip("onnxscript", reason="needs csc-models[onnx]")
    path = tmp_path / "model.zip"
    members = [build("2d_unet_s", seed=seed, width=4, depth=2) for seed in range(2)]
    to_bioimageio(Ensemble(members), path, replace(DETAILS, with_onnx=True), description=description)
    for weights in ("torchscript", "onnx"):
        summary = core.test_model(path, weight_format=weights)
        assert summary.status == "passed", summary.format()


class TestRefused:
    def test_no_raw_range(self, spec, build, tmp_path):
        with pytest.raises(ExportError, match="give raw_range"):
            to_bioimageio(build("2d_unet_s", width=4), tmp_path / "model.zip", DETAILS)

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"license": "MINE"}, "license"),
            ({"name": "a/b: c!"}, "name"),
            ({"cite": (Citation(text="neither DOI nor address"),)}, "Either 'doi' or 'url'"),
        ],
    )
    def test_what_the_specification_does_not_allow_is_named(self, spec, build, description, tmp_path, changes, what):
        with pytest.raises(ExportError, match=rf"does not fit the BioImage.IO specification: .*{what}"):
            to_bioimageio(
                build("2d_unet_s", width=4),
                tmp_path / "model.zip",
                replace(DETAILS, **changes),
                description=description,
            )
        assert list(tmp_path.iterdir()) == []

    def test_a_halo_that_gives_sizes_between_the_steps(self, spec, build, description, tmp_path):
        with pytest.raises(ExportError, match="halo=9: twice the halo must be a multiple of 4"):
            to_bioimageio(
                build("2d_unet_s", width=4), tmp_path / "m.zip", replace(DETAILS, halo=9), description=description
            )

    def test_another_suffix(self, spec, build, description, tmp_path):
        with pytest.raises(ExportError, match=r"has to end in \.zip"):
            to_bioimageio(build("2d_unet_s", width=4), tmp_path / "model.tar", DETAILS, description=description)

    def test_without_the_extra_says_what_to_install(self, build, description, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "bioimageio.spec.model.v0_5", None)
        with pytest.raises(ModelError, match=r'pip install "./packages/csc-models\[bioimageio\]"'):
            to_bioimageio(build("2d_unet_s", width=4), tmp_path / "model.zip", DETAILS, description=description)
