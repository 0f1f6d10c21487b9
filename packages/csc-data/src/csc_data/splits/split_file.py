"""Datasplits: which annotated crop trains and which validates.

The file is a CSV without header, every field quoted: usage, zarr, raw path in it, zarr, label path in it with the
annotated classes in brackets::

    "train","d/x/x.zarr","recon-1/em/fibsem-uint8","d/x/x.zarr","recon-1/labels/groundtruth/crop234/[nuc,er]"
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csc_data.errors import MissingDataError, Problem, ProblemsError
from csc_data.storage.atomic import replace_text
from csc_data.storage.paths import is_remote, join

Usage = Literal["train", "validate"]

_log = logging.getLogger(__name__)

_LABELS = re.compile(r"^(?P<crop>.*?)/?\[(?P<classes>[^\[\]]*)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """One annotated crop and what it is used for.

    Attributes
    ----------
    usage : {"train", "validate"}
    raw : str
        Path or URL of the raw volume.
    labels : str
        Path or URL of the crop, the group that holds one volume a class.
    classes : tuple of str
        The classes annotated there that this split uses.

    Examples
    --------
    >>> from csc_data import SplitRow
    >>> labels = "a/a.zarr/recon-1/labels/groundtruth/crop234"
    >>> row = SplitRow(usage="train", raw="a/a.zarr/recon-1/em/fibsem-uint8", labels=labels, classes=("nuc", "er"))
    >>> row.dataset, row.crop
    ('a', 'crop234')
    """

    usage: Usage
    raw: str
    labels: str
    classes: tuple[str, ...]

    @property
    def crop(self) -> str:
        """Name of the crop, for example ``crop234``."""
        return self.labels.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]

    @property
    def dataset(self) -> str:
        """Name of the data set: that of the zarr without its suffix."""
        return dataset_of(self.labels)


def dataset_of(path: str) -> str:
    """Return the data set that a path leads into: the name of the zarr (or n5) folder without its suffix.

    >>> dataset_of("d/x/x.zarr/recon-1/em")
    'x'
    """
    store, _ = split_store(path)
    return store.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr").removesuffix(".n5")


def split_store(path: str) -> tuple[str, str]:
    """Split a path into the zarr (or n5) folder and the path within it.

    >>> split_store("d/x/x.zarr/recon-1/em")
    ('d/x/x.zarr', 'recon-1/em')
    """
    for suffix in (".zarr", ".n5"):
        match = re.match(rf"^(.*?{re.escape(suffix)})(?:[/\\](.*))?$", path)
        if match:
            return match[1], (match[2] or "").replace("\\", "/").strip("/")
    return path, ""


def read_datasplit(path: str | os.PathLike[str], data: Path | None = None) -> tuple[SplitRow, ...]:
    """Read a datasplit file.

    Understood are five columns (usage, zarr, raw path, zarr, label path), three (usage, raw, labels), and three with a
    header that names ``raw``, ``label`` (or ``labels``, ``truth``) and ``usage``. Relative paths are taken from the
    working folder. What is not where a path says is looked for below the file's own folder, then below the data
    folder, under the longest end of the path that is there: both may have been moved since the file was written.

    Parameters
    ----------
    path : path-like
    data : Path, optional
        The data folder, where the file may lie elsewhere.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ProblemsError
        With every row that cannot be understood.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import SplitRow, read_datasplit, write_datasplit
    >>> row = SplitRow(usage="train", raw="a.zarr/raw", labels="a.zarr/crop1", classes=("nuc", "er"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_datasplit(Path(folder, "datasplit.csv"), [row])
    ...     read_datasplit(Path(folder, "datasplit.csv"))[0].classes
    ('nuc', 'er')
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no datasplit {file}; `csc make-datasplit` writes one")
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ProblemsError(str(file), [Problem(where="file", what=f"is not UTF-8 text: {error}")]) from error
    table = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    order = None
    # Not by "raw": that may also be the path of a volume.
    if table and "usage" in {cell.strip().lower() for cell in table[0]}:
        order = [cell.strip().lower() for cell in table.pop(0)]
    folders = (file.parent,) if data is None else (file.parent, data)
    rows, problems = [], []
    for number, cells in enumerate(table, start=1 if order is None else 2):
        row = _parse_row([cell.strip() for cell in cells], order, folders)
        if isinstance(row, SplitRow):
            rows.append(row)
        else:
            problems.append(Problem(where=f"row {number}", what=row))
    if not rows and not problems:
        problems.append(Problem(where="file", what="holds no rows", remedy="`csc make-datasplit` writes them"))
    if problems:
        raise ProblemsError(str(file), problems)
    _tell_copies(file, rows)
    return tuple(rows)


def _tell_copies(file: Path, rows: Sequence[SplitRow]) -> None:
    """Tell where a datasplit that was copied with its data still names the data that it was copied from."""
    home = file.parent.resolve()
    for store in dict.fromkeys(split_store(path)[0] for row in rows for path in (row.raw, row.labels)):
        if is_remote(store) or not Path(store).exists() or Path(store).resolve().is_relative_to(home):
            continue
        copy = next((place for place in _ends_below(home, store) if place.is_dir()), None)
        if copy is not None and not copy.samefile(store):
            _log.warning(
                "%s names %s, and not %s beside it, which is there too: if that is the copy to use, let `csc "
                "make-datasplit` write the file anew, or edit its paths",
                file,
                store,
                copy,
            )
            return


def _parse_row(cells: list[str], order: list[str] | None, folders: Sequence[Path]) -> SplitRow | str:
    """Return the row, or what is wrong with it."""
    if order is not None:
        named = dict(zip(order, cells, strict=False))
        label = named.get("label") or named.get("labels") or named.get("truth") or ""
        usage, raw = named.get("usage", ""), named.get("raw", "")
    elif len(cells) == 5:
        usage, raw, label = cells[0], join(cells[1], cells[2].strip("/")), join(cells[3], cells[4].lstrip("/"))
    elif len(cells) == 3:
        usage, raw, label = cells
    else:
        return f"has {len(cells)} columns, expected 5 or 3"
    if usage not in ("train", "validate"):
        return f"usage is {usage!r}, expected train or validate"
    match = _LABELS.match(label.replace("\\", "/"))
    if match:
        crop, classes = match["crop"], tuple(name.strip() for name in match["classes"].split(",") if name.strip())
    else:
        crop, _, name = label.replace("\\", "/").rstrip("/").rpartition("/")
        classes = (name,) if name else ()
    if not raw or not crop or not classes:
        return "needs a raw path and a label path that ends in [class,class,...]"
    return SplitRow(
        usage=usage,  # type: ignore[arg-type]  # checked above
        raw=_resolve(raw, folders),
        labels=_resolve(crop, folders),
        classes=classes,
    )


def _resolve(path: str, folders: Sequence[Path]) -> str:
    """Return a path, or where it lies below one of some folders if it is not where it says."""
    if is_remote(path) or Path(path).exists():
        return path
    places = (place for folder in folders for place in _ends_below(folder, path))
    return next((str(place) for place in places if place.exists()), path)


def _ends_below(folder: Path, path: str) -> Iterator[Path]:
    """Yield where a path would lie below a folder, under its longest end first."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    store, _ = split_store("/".join(parts))
    # An end that began within the store could be found in any store.
    for begin in range(store.count("/") + 1):
        yield folder.joinpath(*parts[begin:])


def write_datasplit(path: str | os.PathLike[str], rows: Iterable[SplitRow]) -> None:
    """Write a datasplit file of five quoted columns, under a temporary name first.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data import SplitRow, write_datasplit
    >>> row = SplitRow(usage="train", raw="a.zarr/raw", labels="a.zarr/crop1", classes=("nuc", "er"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_datasplit(Path(folder, "datasplit.csv"), [row])
    ...     print(Path(folder, "datasplit.csv").read_text().strip())
    "train","a.zarr","raw","a.zarr","crop1/[nuc,er]"
    """
    file = Path(path)
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        raw_store, raw_path = split_store(row.raw)
        label_store, label_path = split_store(row.labels)
        writer.writerow([row.usage, raw_store, raw_path, label_store, f"{label_path}/[{','.join(row.classes)}]"])
    replace_text(file, text.getvalue())
