"""What is seen of long work: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys

import pytest
import rich

from csc_cli import transfer_bar
from csc_cli.console import progress_bar
from csc_data.fetching import FetchProgress


def show_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(rich, "_console", None)  # it remembers whether there was a terminal when it was made
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "110")


def test_on_a_terminal_a_bar_tells_phase_files_bytes_and_rate(monkeypatch, capsys):
    show_a_terminal(monkeypatch)
    with transfer_bar.transfer_bar() as update:
        update(FetchProgress(phase="listing", done=3, total=9))
    assert "3/9 requests" in capsys.readouterr().out
    with transfer_bar.transfer_bar() as update:
        update(FetchProgress(phase="listing", done=9, total=9))
        update(FetchProgress(phase="fetching", done=1, total=4, done_bytes=0, total_bytes=10**6))
        update(FetchProgress(phase="fetching", done=2, total=4, done_bytes=10**5, total_bytes=10**6))
    printed = capsys.readouterr().out
    assert "fetching" in printed
    assert "2/4 files, 100.0 kB of 1.0 MB" in printed


def test_on_a_terminal_a_bar_counts(monkeypatch, capsys):
    show_a_terminal(monkeypatch)
    with progress_bar("blocks") as update:
        update(3, 8)
    printed = capsys.readouterr().out
    assert "blocks" in printed
    assert "3/8" in printed


def test_in_a_log_there_is_a_line_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(transfer_bar.time, "monotonic", lambda: now[0])
    with transfer_bar.transfer_bar() as update:
        for second in range(0, 71, 10):
            now[0] = float(second)
            update(
                FetchProgress(phase="fetching", done=second, total=100, done_bytes=second * 10**6, total_bytes=10**8)
            )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0].strip() for line in lines] == ["fetching: 30/100 files", "fetching: 60/100 files"]
    assert lines[0].endswith("30.0 MB of 100.0 MB, 1.0 MB/s, 1 min left")
