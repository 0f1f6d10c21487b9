"""What is shown on the terminal: lines and progress bars. The words themselves come from `csc_data.wording`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

INTERRUPTED = 130
"""The exit code of shells for Ctrl-C."""


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; elsewhere show nothing. Lines that are printed meanwhile go above it.

    Yields
    ------
    callable
        Takes (finished, all), as every library of the toolbox reports progress.

    Examples
    --------
    >>> import contextlib
    >>> import io
    >>> with contextlib.redirect_stdout(io.StringIO()) as shown, progress_bar("blocks") as bar:
    ...     bar(1, 2)
    >>> shown.getvalue()  # there is no terminal
    ''
    """
    if not sys.stdout.isatty():
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say(text: str) -> None:
    """Print a line, above a progress bar if one is shown.

    Examples
    --------
    >>> say("wrote result.json")
    wrote result.json
    """
    click.echo(text)


@contextmanager
def say_logged(name: str) -> Iterator[None]:
    """Print what a module of the libraries logs for information, where people wait for that.

    Examples
    --------
    >>> import logging
    >>> with say_logged("csc_data.example"):
    ...     logging.getLogger("csc_data.example").info("made datasplit.csv")
    made datasplit.csv
    """
    logger = logging.getLogger(name)
    handler, level = _SayingHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _SayingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
