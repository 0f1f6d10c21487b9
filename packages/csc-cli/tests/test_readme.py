"""The README names every command, and none, and no option, that is not there."""

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
def test_commands_and_options_are_there(line):
    command: click.Command | None = csc
    words = shlex.split(line)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command)
        command = command.get_command(context, words.pop(0))
    assert command is not None
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known | {"--help"}
