"""Networks of other packages, which are made here as pip installs them: modules beside a dist-info."""

import inspect
import itertools
import subprocess
import sys
from typing import ClassVar

import pytest
import torch

from csc_models import create_model, describe_model, list_models, model_card, model_spec
from csc_models.checkpoint import identify, load_checkpoint, save_checkpoint
from csc_models.ensemble import Ensemble
from csc_models.errors import MissingExtraError, ModelError, PlugInError, UnknownModelError
from csc_models.testing import ModelContract

THEIRS = """
from torch import nn
from csc_models import ModelSpec, SizeRule
from csc_models.nets.layers import check_input

class Blur(nn.Module):
    def __init__(self, n_channels: int, n_classes: int, kernel: int = 3):
        super().__init__()
        self.n_channels, self.n_classes, self.kernel = n_channels, n_classes, kernel
        self.layer = nn.Conv3d(n_channels, n_classes, kernel, padding="same")

    def forward(self, x):
        check_input("theirs", x, ndim=3, channels=self.n_channels, minimum=1)
        return self.layer(x)

SPEC = ModelSpec(
    name="theirs", builder=Blur, summary="one layer", ndim=3, source="a test",
    sizes=lambda _: SizeRule(minimum=1, efficient_multiple=1), receptive_field=lambda given: given["kernel"],
)
"""
counter = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a package with one network into a folder of its own, and returns its module's name."""

    def put(code=THEIRS, *, network="theirs", package="their-nets", version="1.2", value="{module}:SPEC"):
        module = f"their_nets_{next(counter)}"  # modules stay imported from one test to the next
        folder = tmp_path / module
        info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[csc.models]\n{network} = {value.format(module=module)}\n")
        monkeypatch.syspath_prepend(str(folder))
        return module

    yield put
    for name in [name for name in sys.modules if name.startswith("their_nets_")]:
        del sys.modules[name]


class TestAPackageBringsANetwork:
    def test_that_is_listed_built_and_described(self, install):
        module = install()
        assert "theirs" in list_models()
        assert list_models("theirs") == ["theirs"]
        assert module not in sys.modules, "listing names needs no import"
        assert model_card("theirs", kernel=5).receptive_field == 5
        model = create_model("theirs", n_channels=1, n_classes=2, kernel=5)
        by_class = type(model)(1, 2, kernel=5)
        assert describe_model(by_class) == describe_model(model)
        assert describe_model(model).arguments == {"n_channels": 1, "n_classes": 2, "kernel": 5}

    def test_whose_checkpoints_another_process_rebuilds(self, install, tmp_path):
        module = install()
        model = create_model("theirs", n_channels=1, n_classes=2, kernel=5).eval()
        save_checkpoint(tmp_path / "net.pth", model)
        x = torch.rand(1, 1, 6, 6, 6)
        code = (
            "import torch; from csc_models.checkpoint import load_checkpoint\n"
            "print(load_checkpoint('net.pth').model(torch.load('x.pt')).detach().flatten().tolist())"
        )
        torch.save(x, tmp_path / "x.pt")
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(tmp_path / module), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert torch.allclose(torch.tensor(eval(done.stdout)), model(x).flatten())

    def test_and_a_checkpoint_says_which_package(self, install, tmp_path, monkeypatch):
        module = install()
        model = create_model("theirs", n_channels=1, n_classes=2)
        save_checkpoint(tmp_path / "net.pth", model)
        save_checkpoint(tmp_path / "both.pth", Ensemble([model, create_model("2d_unet_s", n_channels=1, n_classes=2)]))
        assert load_checkpoint(tmp_path / "net.pth").description.packages == ("their-nets 1.2",)
        assert "theirs of their-nets 1.2" in str(identify(tmp_path / "net.pth"))
        monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.endswith(module)])
        for file in ("net.pth", "both.pth"):
            with pytest.raises(MissingExtraError, match=r"'theirs' is from their-nets 1\.2: install that package"):
                load_checkpoint(tmp_path / file)
            assert "their-nets 1.2" in identify(tmp_path / file).problem

    def test_networks_of_ours_are_of_no_package(self, install, tmp_path):
        install()
        save_checkpoint(tmp_path / "net.pth", create_model("2d_unet_s", n_channels=1, n_classes=2, width=4))
        assert "packages" not in torch.load(tmp_path / "net.pth", weights_only=True)["description"]
        assert load_checkpoint(tmp_path / "net.pth").description.packages == ()


class TestAPackageIsNoGood:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("1 / 0", "ZeroDivisionError"),
            ("def f(:", "SyntaxError"),
            ("", "AttributeError.*SPEC"),
            ("SPEC = 3", "not a csc_models.ModelSpec of that name but 3"),
            (THEIRS.replace('"theirs"', '"other"'), "not a csc_models.ModelSpec of that name"),
        ],
    )
    def test_and_others_are_not_harmed(self, install, code, words):
        install(code, network="broken", package="bad-nets", version="0.3")
        install()
        assert {"broken", "theirs", "3d_unet_s"} <= set(list_models())
        assert create_model("theirs", n_channels=1, n_classes=1).kernel == 3
        with pytest.raises(PlugInError, match=rf"(?s)'broken' of the package bad-nets 0\.3 .*{words}"):
            create_model("broken", n_channels=1, n_classes=1)
        with pytest.raises(UnknownModelError, match="did you mean 'theirs'"):
            model_spec("their")

    def test_two_packages_with_one_name_are_both_named(self, install):
        install(package="a-nets")
        install(package="b-nets", version="3")
        with pytest.raises(PlugInError, match=r"a-nets 1\.2 and b-nets 3 each bring a network named 'theirs'"):
            create_model("theirs", n_channels=1, n_classes=1)
        assert list_models("theirs") == ["theirs"]

    @pytest.mark.parametrize("name", ["3d_unet_s", "cosem_setup26_1"])
    def test_a_name_of_ours_stays_ours(self, install, name):
        module = install(THEIRS.replace('"theirs"', f'"{name}"'), network=name)
        names = list_models()
        assert names == sorted(set(names))
        assert model_spec(name).builder.__module__.startswith("csc_models.")
        assert module not in sys.modules
        theirs = __import__(module).Blur(1, 1)
        assert describe_model(theirs) is None

    def test_a_class_that_forgets_its_arguments_is_saved_all_the_same(self, install, tmp_path):
        module = install(
            THEIRS.replace("self.n_channels, self.n_classes, self.kernel = n_channels, n_classes, kernel", "")
        )
        save_checkpoint(tmp_path / "net.pth", __import__(module).Blur(1, 1))
        assert load_checkpoint(tmp_path / "net.pth", model=__import__(module).Blur(1, 1)).description.model_name is None


class TestTheyPassOurContract(ModelContract):
    cases: ClassVar = {"plain": ("theirs", {}), "wide": ("theirs", {"kernel": 5})}

    @pytest.fixture
    def case(self, request, install):
        install()
        return request.param

    test_compile = pytest.mark.thorough(ModelContract.test_compile)
    test_export_for_any_batch = pytest.mark.thorough(ModelContract.test_export_for_any_batch)


@pytest.mark.parametrize(
    ("right", "wrong", "test"),
    [
        ('given["kernel"]', 'given["kernel"] + 2', "test_receptive_field_is_what_a_gradient_reaches"),
        ("check_input", "(lambda *_, **__: None)", "test_wrong_shapes_are_named"),
        ("self.layer(x)", "self.layer(x.detach())", "test_forward_and_backward_reach_all_weights"),
        ("self.layer(x)", "self.layer(x)[..., 1:]", "test_output_has_the_size_of_the_card_whatever_the_input"),
        ("= n_channels, n_classes, kernel", "= n_channels, n_classes, 1", "test_saved_and_rebuilt_gives_the_same"),
    ],
)
def test_the_contract_notices(install, tmp_path, right, wrong, test):
    before, after = THEIRS.split("import check_input")
    install(f"{before}import check_input{after.replace(right, wrong)}")

    def build(n_channels=1, n_classes=2, seed=0):
        return create_model("theirs", n_channels=n_channels, n_classes=n_classes)

    given = {
        "build": build,
        "card": model_card("theirs"),
        "tmp_path": tmp_path,
        "make_input": lambda n_channels=1, batch=2, more=(0, 0, 0): torch.rand(
            batch, n_channels, *(4 + m for m in more)
        ),
    }
    method = getattr(ModelContract(), test)
    arguments = {name: given[name] for name in inspect.signature(method).parameters}
    with pytest.raises((AssertionError, RuntimeError, ModelError, pytest.fail.Exception)):
        method(**arguments)
