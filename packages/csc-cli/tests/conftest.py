from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from csc_cli.main import csc


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Give each test a configuration folder and a working folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CSC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command in this process; what is not a message for the user is raised."""

    def run_command(*arguments: str) -> Result:
        result = CliRunner().invoke(csc, list(arguments), catch_exceptions=False, prog_name="csc")
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result

    return run_command
