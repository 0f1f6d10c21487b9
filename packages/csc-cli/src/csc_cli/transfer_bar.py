"""How far fetching, unpacking or verifying files is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from csc_cli.console import bar_console, say
from csc_data.wording import format_bytes, format_seconds

if TYPE_CHECKING:
    from csc_data.fetching import FetchProgress

_LINE_SECONDS = 30


@contextmanager
def transfer_bar() -> Iterator[Callable[[FetchProgress], None]]:
    """Show how much came, how fast, and how long the rest takes: a bar on a terminal, else a line now and then."""
    if sys.stdout.isatty():
        with _bar() as update:
            yield update
    else:
        yield _Lines().update


@contextmanager
def _bar() -> Iterator[Callable[[FetchProgress], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, console=bar_console()) as bar:
        task = bar.add_task("listing", total=None, words="")
        speed = _Speed()

        def update(state: FetchProgress) -> None:
            total = state.total_bytes or state.total
            done = state.done_bytes if state.total_bytes else state.done
            if speed.begins(state):
                bar.reset(task, description=state.phase, total=total, words="")
            bar.update(task, completed=done, total=total, words=speed.words(state))

        yield update


class _Speed:
    """Words about how far a phase is and how fast."""

    def __init__(self) -> None:
        self.phase = ""
        self.began = 0.0
        self.first = 0

    def begins(self, state: FetchProgress) -> bool:
        """Tell whether a phase begins with this state."""
        if state.phase == self.phase:
            return False
        self.phase, self.began, self.first = state.phase, time.monotonic(), state.done_bytes
        return True

    def words(self, state: FetchProgress) -> str:
        """Say how much is done, and the rate."""
        if not state.total_bytes:
            return f"{state.done:,}/{state.total:,} requests"
        rate = (state.done_bytes - self.first) / max(time.monotonic() - self.began, 1e-3)
        files = f"{state.done:,}/{state.total:,} files, " if state.total > 1 else ""
        sizes = f"{format_bytes(state.done_bytes)} of {format_bytes(state.total_bytes)}"
        return f"{files}{sizes}, {format_bytes(int(rate))}/s"


class _Lines:
    """A line every half minute, for logs."""

    def __init__(self) -> None:
        self.speed = _Speed()
        self.last = time.monotonic()

    def update(self, state: FetchProgress) -> None:
        """Print a line if it is time."""
        self.speed.begins(state)
        now = time.monotonic()
        if now - self.last < _LINE_SECONDS:
            return
        self.last = now
        left = ""
        if state.done_bytes > self.speed.first:
            per_byte = (now - self.speed.began) / (state.done_bytes - self.speed.first)
            left = f", {format_seconds(per_byte * (state.total_bytes - state.done_bytes))} left"
        say(f"  {state.phase}: {self.speed.words(state)}{left}")
