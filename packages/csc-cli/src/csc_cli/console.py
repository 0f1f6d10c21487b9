"""What is shown on the terminal: lines, progress bars, and JSON. The words themselves come from `csc_data.wording`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from math import isfinite
from numbers import Integral, Real
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
"""The exit code of shells for Ctrl-C."""

_answers: ContextVar[IO[str] | None] = ContextVar("_answers", default=None)


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
    with Progress(*columns, transient=True, console=bar_console()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def bar_console() -> Console:
    """Return where bars are drawn: on light terminals nobody can read rich's yellow and cyan numbers.

    Colours are left out where NO_COLOR is set.
    """
    from rich.console import Console
    from rich.theme import Theme

    return Console(theme=Theme(dict.fromkeys(("progress.elapsed", "progress.remaining", "progress.download"), "none")))


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


@contextmanager
def answering_in_json() -> Iterator[None]:
    """Let stdout hold what `answer` is given, as JSON; all that is printed otherwise goes to stderr meanwhile.

    >>> with answering_in_json():
    ...     answer({"crops": 2})
    {
      "crops": 2
    }
    """
    with _kept_stdout() as stream, redirect_stdout(sys.stderr):
        token = _answers.set(stream)
        try:
            yield
        finally:
            _answers.reset(token)
            stream.flush()


@contextmanager
def _kept_stdout() -> Iterator[IO[str]]:
    """Yield stdout; where it is the process's own, what other processes and libraries write to it goes to stderr."""
    own = sys.__stdout__
    if own is None or sys.stdout is not own:
        yield sys.stdout
        return
    own.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(kept, "w", encoding="utf-8", closefd=False) as stream:
            yield stream
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def answer(document: object) -> None:
    """Print what a command found as one JSON document, if ``--json`` asks for it.

    Parameters
    ----------
    document : object
        Dataclasses, mappings, sequences, paths, numbers, texts. Numbers that JSON lacks become null.
    """
    stream = _answers.get()
    if stream is not None:
        import json

        click.echo(json.dumps(_plain(document), indent=2, allow_nan=False), file=stream)


def _plain(value: object) -> object:
    """Return what JSON has for a value.

    >>> _plain({"z": (1.0, float("nan")), 7: {"b", "a"}})
    {'z': [1.0, None], '7': ['a', 'b']}
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if isfinite(value) else None
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    return sorted(map(str, value)) if isinstance(value, Set) else str(value)
