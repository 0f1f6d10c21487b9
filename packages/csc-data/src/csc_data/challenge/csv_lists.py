"""Reading the organisers' lists: CSV files with a header, whose rows are checked one by one.

The header decides, not the order of the columns. Columns have changed their names in the past; both names are read.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from csc_data.errors import InvalidArgumentError, MissingDataError, Problem, ProblemsError

_RENAMED = {"crop_number": "crop_name", "collection": "dataset"}
"""What manifest.csv has called these columns since December 2024."""


def read_csv_list(
    path: str | os.PathLike[str], columns: Sequence[str], take_row: Callable[[Mapping[str, str]], None], *, of: str
) -> None:
    r"""Read a list row by row.

    Parameters
    ----------
    path : path-like
    columns : sequence of str
        The columns that the list must have; others are passed over.
    take_row : callable
        Called with each row, its values by column, without blanks around them. A ValueError that it raises, with what
        is wrong with the row, does not keep the rows after it from being read.
    of : str
        What it lists, for messages: "crops".

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood; if there is no row at all; if the file is not text.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "list.csv")
    ...     _ = file.write_text("crop,size\ncrop1,40\ncrop2,60\n")
    ...     read_csv_list(file, ["crop", "size"], lambda row: print(row["crop"], row["size"]), of="crops")
    crop1 40
    crop2 60
    """
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            problems = _read_rows(stream, columns, take_row)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingDataError(f"there is no list of {of} {file}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        problems = [Problem(where="file", what=f"is not a list in CSV form: {error}")]
    if problems is None:
        problems = [Problem(where="file", what=f"lists no {of}")]
    if problems:
        raise ProblemsError(str(file), problems)


def _read_rows(
    stream: Iterable[str], columns: Sequence[str], take_row: Callable[[Mapping[str, str]], None]
) -> list[Problem] | None:
    """Return what is wrong; None if there is a header and nothing below it."""
    reader = csv.reader(stream, skipinitialspace=True)
    names = [name.strip() for name in next(reader, [])]
    names = [_RENAMED.get(name, name) for name in names]
    missing = [name for name in columns if name not in names]
    if missing:
        return [Problem(where="header", what=f"lacks {', '.join(missing)}")]
    problems = []
    empty = True
    for cells in reader:
        if not any(cells):
            continue
        empty = False
        try:
            row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
            absent = [name for name in columns if not row.get(name)]
            if absent:
                raise InvalidArgumentError(f"has no {', '.join(absent)}")
            take_row(row)
        except ValueError as error:
            problems.append(Problem(where=f"row {reader.line_num}", what=str(error)))
    return None if empty else problems


def parse_crop_id(text: str) -> int:
    """Return the number of a crop.

    >>> parse_crop_id("234"), parse_crop_id("crop234")
    (234, 234)

    Raises
    ------
    InvalidArgumentError
        If there is none.
    """
    digits = text.removeprefix("crop")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidArgumentError(f"the name of a crop must be like 234 or crop234, got {text!r}")
    return int(digits)


def parse_numbers(text: str) -> list[float]:
    """Return the numbers of a cell.

    >>> parse_numbers("[5.24;4.0;4.0]")
    [5.24, 4.0, 4.0]

    Raises
    ------
    InvalidArgumentError
        If one is not a number.
    """
    try:
        return [float(part) for part in text.strip("[]()").replace(",", ";").split(";")]
    except ValueError:
        raise InvalidArgumentError(f"expected numbers like [8.0;8.0;8.0], got {text!r}") from None
