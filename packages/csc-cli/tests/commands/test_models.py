import re
import sys

import pytest
import torch

from csc_models import create_model, list_models, list_pretrained
from csc_models.checkpoint import load_checkpoint, save_checkpoint


def test_list_names_every_network(run):
    lines = run("models", "list").output.splitlines()[1:]
    names = {line.split()[0] for line in lines if "pip install" not in line}
    assert names == set(list_models())


@pytest.mark.parametrize("command", ["show", "card"])
def test_show_tells_what_a_network_takes(run, command):
    output = run("models", command, "3d_unet_s").output
    assert "parameters" in output
    assert "n_channels" in output
    assert "package" not in output


def test_networks_of_other_packages_are_listed_and_bad_ones_told(run, tmp_path, monkeypatch):
    info = tmp_path / "site" / "their_nets-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-nets\nVersion: 0.3\n")
    lines = (
        "[csc.models]",
        "3d_unet = their_nets:SPEC",
        "broken_unet = no_such_module:SPEC",
        "odd_unet = their_nets:ODD",
    )
    (info / "entry_points.txt").write_text("\n".join((*lines, "their_unet = their_nets:SPEC")))
    (info.parent / "their_nets.py").write_text(
        "from dataclasses import replace\n"
        "from csc_models import model_spec\n"
        "SPEC = replace(model_spec('2d_unet_s'), name='their_unet')\n"
        "def odd(n_channels: int, n_classes: int):\n"
        "    return 1 / 0\n"
        "ODD = replace(SPEC, name='odd_unet', builder=odd, fixed={})\n"
    )
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.delitem(sys.modules, "their_nets", raising=False)
    output = run("models", "list", "unet").output
    assert re.search(r"^their_unet +93,954 +their-nets 0\.3: ", output, re.MULTILINE)
    assert re.search(r"^3d_unet +90,298,626 +(?!their-nets)", output, re.MULTILINE)
    assert "broken_unet of their-nets 0.3 cannot be used: " in output
    assert "No module named 'no_such_module'" in output
    assert "odd_unet of their-nets 0.3 cannot be used: division by zero" in output
    assert "their_nets:SPEC is not used: 3d_unet is a network of csc-models" in output
    assert "package          their-nets 0.3" in run("models", "card", "their_unet").output


def test_an_unknown_network_names_the_nearest(run):
    result = run("models", "show", "3d_unet_z")
    assert result.exit_code == 1
    assert "3d_unet" in result.stderr


def test_check_recognises_a_checkpoint_and_refuses_what_does_not_load(run, tmp_path):
    model = create_model("3d_unet_s", n_channels=1, n_classes=2)
    save_checkpoint(tmp_path / "ours.pth", model)
    assert "3d_unet_s" in run("models", "check", "ours.pth").output
    torch.save({"what": torch.zeros(3)}, tmp_path / "other.pth")
    result = run("models", "check", "other.pth")
    assert result.exit_code == 1
    assert "other.pth" in result.stderr
    (tmp_path / "cut.pth").write_bytes((tmp_path / "ours.pth").read_bytes()[:1000])
    assert run("models", "check", "cut.pth").exit_code == 1
    assert run("models", "check", "absent.pth").exit_code == 1


def test_networks_of_a_library_that_is_missing_are_listed_with_what_to_install(run, monkeypatch):
    for module in ("monai", "monai.networks.nets"):
        monkeypatch.setitem(sys.modules, module, None)
    output = run("models", "list", "monai").output
    assert {"monai_unet", "monai_swin_unetr"} <= {line.split()[0] for line in output.splitlines()}
    assert 'pip install "./packages/csc-models[monai]"' in output
    result = run("models", "show", "monai_unet")
    assert result.exit_code == 1
    assert 'pip install "./packages/csc-models[monai]"' in result.stderr


class TestPublishedWeights:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        """Networks of few features, whose weights have been fetched into a cache of the test."""
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")

        def few(name, **arguments):
            return create_model(name, **{"features": (2, 3), "factors": (2,), **arguments})

        monkeypatch.setattr("csc_models.pretrained.loading.create_model", few)
        path = tmp_path / "cache" / "pretrained" / "cosem_setup28" / "775000.pth"
        path.parent.mkdir(parents=True)
        torch.save({"model": few("cosem_setup28").state_dict()}, path)

    def test_are_listed_with_what_is_there(self, run):
        rows = {line.split()[0]: line.split()[1:] for line in run("models", "pretrained").output.splitlines()[1:]}
        assert set(rows) == set(list_pretrained())
        assert rows["cosem_setup28/775000"] == ["8", "->", "4", "yes", "er,", "er_mem"]
        assert rows["cosem_setup45/625000"] == ["4", "->", "4", "no", "ecs,", "pm"]

    def test_are_shown_with_their_network(self, run):
        assert "cosem_setup36/1100000, cosem_setup36/500000" in run("models", "show", "cosem_setup36").output
        assert "nuc, nucleo" in run("models", "show", "cosem_setup36/500000").output
        result = run("models", "show", "cosem_setup36/50000")
        assert result.exit_code == 1
        assert "did you mean 'cosem_setup36/500000'" in result.stderr

    def test_become_a_checkpoint_that_knows_itself(self, run):
        output = run("models", "fetch", "setup28/775000", "-o", "er.pth").output
        assert "found cosem_setup28/775000" in output
        assert "next: csc predict er.pth" in output
        said = run("models", "check", "er.pth").output
        for fact in ("cosem_setup28", "er, er_mem", "(-1.0, 1.0)", "signed distances", "loads      yes"):
            assert fact in said

    def test_cannot_be_fetched_without_a_connection(self, run):
        result = run("models", "fetch", "cosem_setup28/1440000", "--mirror", "https://no-such-host.invalid")
        assert result.exit_code == 1
        assert "https://no-such-host.invalid/setup28/1440000" in result.stderr
        assert "1440000.pth" in result.stderr

    def test_predict_says_that_there_is_no_file_of_a_misspelt_name(self, run):
        result = run("predict", "cosem_setup28/77500")
        assert result.exit_code == 1
        assert "cosem_setup28/77500" in result.stderr


class TestImport:
    def test_weights_from_elsewhere_become_a_checkpoint(self, run, tmp_path):
        network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
        torch.save({"state_dict": {f"net.{key}": value for key, value in network.state_dict().items()}}, "theirs.ckpt")
        told = ("--model", "2d_unet_s", "--set", "width=4", "--set", "depth=2", "--classes", "mito,er")
        lacking = run("models", "import", "theirs.ckpt", "--to", "ours.pth", *told, "--patch", "1,32,32")
        assert lacking.exit_code == 1
        assert "give --voxel-size, --raw-range" in lacking.stderr
        told = (*told, "--patch", "1,32,32", "--voxel-size", "8", "--raw-range", "0", "1")
        result = run("models", "import", "theirs.ckpt", "--to", "ours.pth", *told)
        assert result.exit_code == 0, result.stderr
        assert "next: csc predict ours.pth" in result.output
        assert load_checkpoint("ours.pth").description.input_arrays["raw"]["shape"] == [1, 32, 32]
        again = run("models", "import", "theirs.ckpt", "--to", "ours.pth", *told)
        assert "ours.pth exists" in again.stderr

    def test_sizes_and_help_are_told(self, run):
        assert "is not a size" in run("models", "import", "a.pth", "--to", "b.pth", "--patch", "1,2").stderr
        assert "weights that another program saved" in run("models", "import", "--help").output
        assert "there is no file a.pth" in run("models", "import", "a.pth", "--to", "b.pth").stderr
