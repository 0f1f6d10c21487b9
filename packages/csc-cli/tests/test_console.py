"""Bars on terminals: readable on light and dark ones, plain without colours, nothing without a terminal."""

import io
import re

import pytest

from csc_cli.console import progress_bar
from csc_cli.transfer_bar import transfer_bar
from csc_data.fetching import FetchProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def drawn(monkeypatch):
    """Return what both bars write to a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def draw(stream):
        monkeypatch.setattr("sys.stdout", stream)
        with progress_bar("blocks") as bar:
            bar(1, 2)
        with transfer_bar() as show:
            show(FetchProgress(phase="fetching", done=1, total=2, done_bytes=10, total_bytes=20))
        return stream.getvalue()

    return draw


def colours(text):
    return set(re.findall(r"\x1b\[([0-9;]*[0-9])m", text)) - {"0"}


def test_bars_have_no_yellow_and_cyan_which_white_swallows(drawn):
    text = drawn(Terminal())
    assert "blocks" in text
    assert "1/2" in text
    assert colours(text)
    assert not colours(text) & {"33", "36", "93", "96"}


def test_bars_are_plain_where_no_colours_are_wanted(drawn, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(Terminal())
    assert "blocks" in text
    assert not colours(text)


def test_without_a_terminal_there_is_nothing(drawn):
    assert drawn(io.StringIO()) == ""
