"""Every command of the README is run: here, or in the nox session `readme`, or the README says why it is not."""

import os
import shlex
import shutil
import subprocess
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tifffile

FRESH_CLONE = "run: fresh clone"
DEMO_FOLDER = "run: in the folder of the demo"


def test_every_block_says_where_it_is_run(readme_blocks):
    assert readme_blocks
    for block in readme_blocks:
        known = block.mark in {FRESH_CLONE, DEMO_FOLDER} or block.mark.startswith("not run: ")
        assert known, f"no mark above: {block.commands}"


def test_the_main_commands_are_those_of_the_ci_script(readme_blocks, root):
    commands = [command for block in readme_blocks for command in block.commands]
    assert commands[0] == "python3 -m pip install uv && uv run csc demo"
    assert commands[1] == "uv run nox"
    assert "uv run nox" in (root / ".ci" / "run").read_text("utf-8").splitlines()


@pytest.mark.slow
def test_the_commands_for_the_folder_of_the_demo_work(readme_blocks, quick_demo, csc_environment):
    folder, _ = quick_demo
    commands = [command for block in readme_blocks if block.mark == DEMO_FOLDER for command in block.commands]
    assert len(commands) >= 6
    for command in commands:
        result = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env=csc_environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        assert result.stdout.strip(), f"{command} says nothing"
    with tifffile.TiffFile(folder / "stack.tif") as raw, tifffile.TiffFile(folder / "mito-predicted.tif") as predicted:
        assert raw.series[0].shape == predicted.series[0].shape
        assert (predicted.imagej_metadata["spacing"], predicted.imagej_metadata["unit"]) == (8, "nm")
        probabilities = predicted.asarray()
        assert probabilities.min() < probabilities.max()  # how good they are after four steps is chance


@pytest.fixture
def user(tmp_path) -> dict[str, str]:
    """The environment of a machine that has Python and git."""
    venv.create(tmp_path / "python", with_pip=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CSC_", "PYTEST", "UV_", "NOX"))}
    kept.pop("VIRTUAL_ENV", None)
    here = str(Path(shutil.which("pytest") or "").parent)
    path = [part for part in kept["PATH"].split(os.pathsep) if part != here]
    kept["PATH"] = os.pathsep.join([str(tmp_path / "python" / "bin"), *path])
    kept["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    return kept


@pytest.mark.fresh_clone
@pytest.mark.timeout(7200)
def test_the_commands_for_a_fresh_clone_work(readme_blocks, root, tmp_path, user):
    """Each block in a clone of its own of the committed state, side by side: they wait for downloads and the disk."""
    blocks = [block.commands for block in readme_blocks if block.mark == FRESH_CLONE]
    if not shutil.which("pipx"):  # it comes from the system's packages
        blocks = [commands for commands in blocks if not commands[0].startswith("pipx ")]

    def run(number: int) -> None:
        folder = tmp_path / f"clone{number}"
        subprocess.run(["git", "clone", "-q", str(root), str(folder)], check=True)
        for command in blocks[number]:
            result = subprocess.run(
                command, shell=True, cwd=folder, env=user, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"

    with ThreadPoolExecutor() as threads:
        list(threads.map(run, range(len(blocks))))
