import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?:console|sh|bash)\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class CommandBlock:
    """A block of commands in a README, with the comment above it that says where it is run."""

    mark: str
    commands: tuple[str, ...]


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
def readme_blocks() -> list[CommandBlock]:
    """All blocks of commands of the README, in order."""
    return [
        CommandBlock(match["mark"] or "", tuple(filter(None, map(str.strip, match["body"].splitlines()))))
        for match in BLOCK.finditer((ROOT / "README.md").read_text("utf-8"))
    ]


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
