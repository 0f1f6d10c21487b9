"""The README names every command, and no option that a command does not take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from csc_cli.main import COMMANDS, csc

README = Path(__file__).parents[1] / "README.md"
LINES = re.findall(r"^csc (.+?)(?: +#|$)", README.read_text("utf-8"), re.MULTILINE)


def test_every_command_is_named():
    assert set(COMMANDS) - {line.split()[0] for line in LINES} == {"config"}  # it has a sentence below the list
    assert "`csc config`" in README.read_text("utf-8")


@pytest.mark.parametrize("line", LINES)
def test_options_are_those_of_the_command(line):
    command: click.Command | None = csc
    words = shlex.split(line)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command)
        command = command.get_command(context, words.pop(0))
    if command is None:
        pytest.skip(f"csc {line} is not there yet")
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known | {"--help"}
