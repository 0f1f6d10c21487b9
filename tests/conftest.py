import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

ROOT = Path(__file__).parents[1]

# A remark above a block says where it is run, or why not, or which file it is.
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>[a-z]+)\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code in a page, with the remark above it that says where it is run."""

    page: str
    mark: str
    language: str
    body: str

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of the block, a line each."""
        return tuple(filter(None, map(str.strip, self.body.splitlines())))


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of code of a page, in order."""
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, match["mark"] or "", match["language"], match["body"])
        for match in BLOCK.finditer(page.read_text("utf-8"))
    ]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> dict[str, list[Path]]:
    """The Python files of each package, stubs included, by the name that is imported."""
    found = {
        folder.name: sorted((*folder.rglob("*.py"), *folder.rglob("*.pyi"))) for folder in ROOT.glob("packages/*/src/*")
    }
    assert len(found) == 6, found.keys()
    return found


@pytest.fixture(scope="session")
def readme_blocks() -> list[Block]:
    """All blocks of code of the README, in order."""
    return blocks_of(ROOT / "README.md")


@pytest.fixture(scope="session")
def docs_blocks() -> list[Block]:
    """All blocks of code of the documentation's pages; those that a newcomer reads first come first."""
    first = [ROOT / "docs/how_to/own_data.md"]  # others go on with its files
    for folder in ("start", "tutorial", "path"):
        first += (ROOT / "docs" / folder).glob("*.md")
    pages = sorted((ROOT / "docs").rglob("*.md"), key=lambda page: (page not in first, page))
    return [block for page in pages for block in blocks_of(page)]


@pytest.fixture(scope="session")
def csc_environment(tmp_path_factory) -> dict[str, str]:
    """The environment of a user who has the packages and no settings."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CSC_", "PYTEST"))}
    scripts = str(Path(sys.executable).parent)
    return {
        **environment,
        "PATH": scripts + os.pathsep + environment.get("PATH", ""),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


@pytest.fixture(scope="session")
def run_csc(csc_environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `csc` in a process of its own and return what it printed."""

    def run(*arguments: str, cwd: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "csc_cli", *arguments],
            cwd=cwd, env=csc_environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def quick_demo(tmp_path_factory, run_csc):
    """A folder with the finished quick demo in `csc-demo`, and what the demo printed."""
    folder = tmp_path_factory.mktemp("demo")
    result = run_csc("demo", "--quick", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout
