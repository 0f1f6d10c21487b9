"""What shells complete, asked as they ask."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from csc_cli.completing import NETWORKS, setting_values, weights_names
from csc_cli.main import csc
from csc_cli.shells import completion_script


@pytest.fixture
def complete():
    """Return what is offered for a line that ends where the user is."""

    def offers(line):
        *words, last = line.split(" ")
        shell = ShellComplete(csc, {}, "csc", "_CSC_COMPLETE")
        return [item.value for item in shell.get_completions(words, last)]

    return offers


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tra", ["train"]),
        ("models sh", ["show"]),
        ("models show 3d_unet", ["3d_unet", "3d_unet_s"]),
        ("models show cosem_setup26.1/", ["cosem_setup26.1/2580000", "cosem_setup26.1/650000"]),
        ("models import w.pth --model vit", ["vitnet"]),
        ("evaluate --rules lead", ["leaderboard-2026-06"]),
        ("evaluate -ic mito,ves_m", ["mito,ves_mem"]),
        ("get-counts -c mito_r", ["mito_ribo"]),
        ("predict e.py --classes er,mito_m", ["er,mito_mem"]),
        ("predict e.py -c va", ["validation"]),
        ("submit e.py -c 557,98", [f"557,{number}" for number in range(980, 990)]),
        ("make-datasplit -ds jrc_hela-2", ["jrc_hela-2"]),
        ("train e.py --set batch_s", ["batch_size="]),
        ("train e.py --set architecture=2d_res", ["architecture=2d_resenc_unet", "architecture=2d_resnet"]),
        ("predict e.py --set blending=", ["blending=gaussian", "blending=constant"]),
        ("train e.py --set deep_supervision=t", ["deep_supervision=true"]),
        ("config set end", ["endpoint"]),
        ("completion f", ["fish"]),
        ("speedtest --only de", ["device"]),
    ],
)
def test_names_are_offered(complete, line, offered):
    assert complete(line) == offered


def test_experiments_are_offered(complete, tmp_path):
    (tmp_path / "experiments" / "first").mkdir(parents=True)
    assert complete("train -e fi") == complete("list fi") == ["first"]


def test_own_classes_are_offered(complete, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.toml").write_text("[classes.synapse]\ninstance = true\n", "utf-8")
    assert complete("get-counts -c syn") == ["synapse"]
    (tmp_path / "data" / "classes.toml").write_text("[classes", "utf-8")
    assert complete("get-counts -c syn") == []


def test_the_names_are_those_of_the_packages():
    from csc_models import list_models, list_pretrained
    from csc_models.catalog import model_package
    from csc_train.settings import PredictSettings, TrainSettings

    assert [name for name in list_models() if model_package(name) is None] == list(NETWORKS)
    assert sorted(weights_names(None)) == sorted(list_pretrained())
    # `volume` and others are arguments of `predict` rather than settings.
    assert setting_values("train").keys() <= TrainSettings.__dataclass_fields__.keys()
    assert setting_values("predict").keys() <= PredictSettings.__dataclass_fields__.keys()
    assert {"epochs", "learning_rate", "classes"} <= setting_values("train").keys()


def in_bash(*words):
    """Return what bash offers for words, of which it takes "=" for one."""
    call = textwrap.dedent(f"""
        complete() {{ :; }}; compopt() {{ echo "$2"; }}
        {completion_script(csc, "bash")}
        COMP_WORDS=({" ".join(map(repr, words))}); COMP_CWORD={len(words) - 1}
        _csc_completion csc; printf '%s\\n' "${{COMPREPLY[@]}}"
    """)
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": scripts}
    asked = subprocess.run(
        ["bash", "-c", call], capture_output=True, text=True, timeout=300, check=True, env=environment
    )
    assert not asked.stderr
    return asked.stdout.split("\n")[:-1]


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="there is no bash")
def test_bash_divides_words_at_equals_signs_and_is_told_not_to_add_a_space():
    assert in_bash("csc", "train", "e.py", "--set", "batch_s") == ["nospace", "batch_size="]
    assert in_bash("csc", "train", "e.py", "--set", "scheduler_interval", "=", "ep") == ["epoch"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(run, shell):
    script = run("completion", shell).output
    assert f"_CSC_COMPLETE={shell}_complete" in script
    assert ("nospace" in script) == (shell == "bash")
    assert ("--max 1" in script) == (shell == "fish")


def test_completion_is_quick_because_it_imports_nothing_heavy():
    lines = [
        "csc train e.py --set lea",
        "csc models show 3",
        "csc get-counts -c mi",
        "csc fetch-data -c 2",
        "csc evaluate --rules p",
    ]
    probe = (
        "import os, sys, json\nfrom click.shell_completion import ShellComplete\nfrom csc_cli.main import csc\n"
        f"for line in {lines!r}:\n    *words, last = line.split()[1:]\n"
        "    assert ShellComplete(csc, {}, 'csc', 'X').get_completions(words, last), line\n"
        "heavy = {'torch', 'numpy', 'zarr', 'scipy', 'pydantic', 'rich'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=300, cwd=Path.cwd())
