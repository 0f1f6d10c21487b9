"""Every block of code of README and docs is run: here, or by test_fresh_clone.py, or it says why it is not."""

import shlex
import subprocess
import warnings
from pathlib import Path

import pytest
import tifffile
from click.testing import CliRunner

from csc_cli.main import csc

FRESH_CLONE = "run: fresh clone"
DEMO_FOLDER = "run: in the folder of the demo"
PYTHON = "run: python"
FILE = "file: "
CONSOLE = ("console", "sh", "bash")


def test_every_block_says_where_it_is_run(readme_blocks, docs_blocks):
    assert readme_blocks
    assert len(docs_blocks) > len(readme_blocks)
    for block in [*readme_blocks, *docs_blocks]:
        known = {FRESH_CLONE, DEMO_FOLDER} if block.language in CONSOLE else {PYTHON}
        if block.language in {*CONSOLE, "python"}:
            assert block.mark in known or block.mark.startswith("not run: "), (
                f"{block.page}: no mark above {block.body}"
            )


def test_the_main_commands_are_those_of_the_ci_script(readme_blocks, root):
    commands = [command for block in readme_blocks if block.language in CONSOLE for command in block.commands]
    assert commands[0] == "python3 -m pip install uv && uv run csc demo"
    assert commands[1] == "uv run nox"
    assert "uv run nox" in (root / ".ci" / "run").read_text("utf-8").splitlines()


@pytest.mark.slow
def test_the_blocks_for_the_folder_of_the_demo_work(
    readme_blocks, docs_blocks, quick_demo, csc_environment, monkeypatch
):
    """Those of the README as a user starts them, then those of the docs in this process, as that is cheaper."""
    folder, _ = quick_demo
    done = {command for block in readme_blocks if block.mark == DEMO_FOLDER for command in block.commands}
    for command in [command for block in readme_blocks if block.mark == DEMO_FOLDER for command in block.commands]:
        result = subprocess.run(
            shlex.split(command, comments=True),
            cwd=folder,
            env=csc_environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        assert result.stdout.strip(), f"{command} says nothing"
    monkeypatch.chdir(folder)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, csc_environment[name])
    for block in docs_blocks:
        run_here(block, done)
    with tifffile.TiffFile(folder / "stack.tif") as raw, tifffile.TiffFile(folder / "mito-predicted.tif") as predicted:
        assert raw.series[0].shape == predicted.series[0].shape
        assert (predicted.imagej_metadata["spacing"], predicted.imagej_metadata["unit"]) == (8, "nm")
        probabilities = predicted.asarray()
        assert probabilities.min() < probabilities.max()  # how good they are after twenty steps is chance


def run_here(block, done: set[str]) -> None:
    """Run a block in the working folder: commands that were not done, Python, or a file to write."""
    if block.mark.startswith(FILE):
        file = Path(block.mark.removeprefix(FILE))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.body, "utf-8")
    if block.mark == PYTHON:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            exec(compile(block.body, block.page, "exec"), {"__name__": "__main__"})
    if block.mark == DEMO_FOLDER:
        for command in block.commands:
            if command not in done:
                run_command_here(command, block.page)
                done.add(command)


def run_command_here(command: str, page: str) -> None:
    name, *arguments = shlex.split(command, comments=True)
    assert name == "csc", f"{page}: {command} is not a command of ours"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(csc, arguments, prog_name="csc")
    assert result.exit_code == 0, f"{page}: {command}\n{result.output}\n{result.exception!r}"
    assert result.output.strip(), f"{page}: {command} says nothing"
