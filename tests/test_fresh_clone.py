"""The commands of README and docs for a fresh clone, run in one by the nox session `readme`, which has pytest alone."""

import os
import shutil
import subprocess
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FRESH_CLONE = "run: fresh clone"


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
def test_the_commands_for_a_fresh_clone_work(readme_blocks, docs_blocks, root, tmp_path, user):
    """Each block in a clone of its own of the committed state, side by side: they wait for downloads and the disk."""
    marked = [block.commands for block in [*readme_blocks, *docs_blocks] if block.mark == FRESH_CLONE]
    blocks = list(dict.fromkeys(marked))
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
