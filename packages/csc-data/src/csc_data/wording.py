"""Counts, sizes, durations, lists and tables as plain text, for messages and for what commands print.

Pure functions: values in, text out. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Sequence


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

    A "-", "nan" or an empty cell counts as a number, so that a column with gaps stays to the right.

    >>> print(table(["class", "voxels"], [["er", "1,000"], ["mito", 7]]))
    class  voxels
    er      1,000
    mito        7
    """
    cells = [[str(value) for value in row] for row in rows]
    columns = list(zip(headers, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(cells) and all(map(_is_number, column[1:])) for column in columns]

    def lay_out(line: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        return (indent + "  ".join(parts)).rstrip()

    return "\n".join(lay_out(line) for line in (headers, *cells))


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("-", "", 1).strip().isdigit() or text in {"", "-", "nan"}
