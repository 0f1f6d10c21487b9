"""Counts, sizes, durations, lists and tables as plain text, for messages and for what commands print.

Values in, text out. Nothing here prints; only a table asks how wide the terminal is.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import textwrap
from collections.abc import Sequence

_GAP = 2
_LEAST_TEXT = 24
"""Characters to which a column of words is narrowed, where its longest word is not shorter."""


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "crop"), plural(3000, "crop"), plural(2, "class"), plural(2, "batch"), plural(2, "epoch")
    ('1 crop', '3,000 crops', '2 classes', '2 batches', '2 epochs')
    """
    if count == 1:
        return f"1 {noun}"
    hisses = noun.endswith(("s", "x", "ch")) and not noun.endswith("epoch")
    return f"{count:,} {noun}{'es' if hisses else 's'}"


def listed(names: Sequence[object], most: int = 8) -> str:
    """Write names, separated by commas, and only how many more there are after the first few.

    >>> listed(["er", "mito", "nuc"]), listed(["er", "mito", "nuc"], most=2)
    ('er, mito, nuc', 'er, mito and 1 more')
    """
    shown = ", ".join(str(name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def format_bytes(count: int) -> str:
    """Write a number of bytes in decimal units.

    >>> format_bytes(999), format_bytes(2_500_000)
    ('999 B', '2.5 MB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_seconds(seconds: float) -> str:
    """Write a duration.

    >>> format_seconds(42), format_seconds(4000)
    ('42 s', '1 h 7 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """Lay out a plain table: columns of numbers to the right, others to the left.

    A "-", "nan" or an empty cell counts as a number, so that a column with gaps stays to the right. On a terminal, and
    where COLUMNS says how wide one is, the table fits: long texts take several lines, and columns that have no room go
    below the others, beside the first column once more. Elsewhere a row is a line, for grep and awk.

    >>> print(table(["class", "voxels"], [["er", "1,000"], ["mito", 7]]))
    class  voxels
    er      1,000
    mito        7
    """
    cells = [[str(value) for value in row] for row in rows]
    columns = list(zip(headers, *cells, strict=True))
    right = [bool(cells) and all(map(_is_number, column[1:])) for column in columns]
    room = terminal_width()
    widths = _widths(columns, right, None if room is None else room - len(indent))
    parts = [range(len(columns))] if room is None else _parts(widths, room - len(indent))
    lines = [line for part in parts for row in (headers, *cells) for line in _lay_out(row, part, widths, right)]
    return "\n".join((indent + line).rstrip() for line in lines)


def folded(text: str) -> str:
    """Fold lines of a name and a value that are longer than the terminal is wide, the value below itself.

    >>> folded("  source    a short one")
    '  source    a short one'
    """
    room = terminal_width()
    lines: list[str] = []
    for line in text.splitlines():
        begin = re.match(r" *\S+(?: \S+)* {2,}", line)
        indent = " " * (begin.end() if begin else 4)
        if room is None or len(line) <= room:
            lines.append(line)
            continue
        # Addresses and paths stay whole.
        lines += textwrap.wrap(line, room, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)


def terminal_width() -> int | None:
    """Return how many characters fit on a line of the terminal; None where lines may be as long as they are."""
    if (told := os.environ.get("COLUMNS", "")).isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (AttributeError, ValueError, OSError):  # no terminal, or nothing at all
        return None


def _widths(columns: Sequence[Sequence[str]], right: Sequence[bool], room: int | None) -> list[int]:
    """Return the widths of columns; where there is less room, the widest is narrowed first, numbers never are."""
    widths = [max(map(len, column)) for column in columns]
    if room is None:
        return widths
    words = [max((len(word) for text in column for word in text.split()), default=0) for column in columns]
    least = [word if number else min(word, _LEAST_TEXT) for word, number in zip(words, right, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > room:
        widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
    return widths


def _parts(widths: Sequence[int], room: int) -> list[Sequence[int]]:
    """Divide columns among tables that fit; each begins with the first column."""
    parts: list[list[int]] = [[0]]
    for i in range(1, len(widths)):
        if parts[-1] != [0] and sum(widths[j] + _GAP for j in parts[-1]) + widths[i] > room:
            parts.append([0])
        parts[-1].append(i)
    return [*parts]


def _lay_out(row: Sequence[str], part: Sequence[int], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """Return the lines that a row takes."""
    cells = [_wrap(row[i], widths[i]) for i in part]
    return [
        (" " * _GAP).join(
            text.rjust(widths[i]) if right[i] else text.ljust(widths[i]) for i, text in zip(part, texts, strict=True)
        )
        for texts in itertools.zip_longest(*cells, fillvalue="")
    ]


def _wrap(text: str, width: int) -> list[str]:
    return [text] if len(text) <= width else textwrap.wrap(text, width, break_on_hyphens=False)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("-", "", 1).strip().isdigit() or text in {"", "-", "nan"}
