"""Words to the user: tables, progress bars, sizes and times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; elsewhere show nothing. Lines that are printed meanwhile go above it.

    Yields
    ------
    callable
        Takes (finished, all), as every library of the toolbox reports progress.
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
    """Print a line, above a progress bar if one is shown."""
    click.echo(text)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "  ") -> str:
    """Lay out a plain table: text to the left, numbers to the right.

    >>> print(table(["class", "voxels"], [["er", 10], ["mito", 7]], indent=""))
    class  voxels
    er         10
    mito        7
    """
    cells = [[str(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    right = [all(_is_number(row[i]) for row in cells) for i in range(len(headers))] if cells else [False] * len(headers)

    def lay_out(line: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        return (indent + "  ".join(parts)).rstrip()

    return "\n".join([lay_out(list(headers)), *(lay_out(row) for row in cells)])


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("-", "", 1).strip().isdigit() or text in {"", "-", "nan"}


def format_bytes(count: int) -> str:
    """Write a number of bytes for people.

    >>> format_bytes(2_500_000)
    '2.5 MB'
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "crop"), plural(3, "crop"), plural(2, "class")
    ('1 crop', '3 crops', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"
