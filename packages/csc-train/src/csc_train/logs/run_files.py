"""What a run writes beside TensorBoard's files: ``run.json`` and ``metrics.csv``."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

METRICS = "metrics.csv"
RUN_RECORD = "run.json"

Row = dict[str, str]


def read_rows(file: Path) -> dict[int, Row]:
    r"""Return the rows of a table by their epoch; none where there is no file.

    Rows that are not whole, as of a disk that was full or a copy that was broken off, are left out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "metrics.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    ...     read_rows(Path(folder, "metrics.csv"))
    {1: {'epoch': '1', 'loss': '0.5'}, 2: {'epoch': '2', 'loss': '0.4'}}
    """
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and "\0" not in line]
    reader = csv.DictReader(whole)
    found = {int(row["epoch"]): row for row in reader if _is_whole(row)}
    if len(found) < len(lines) - 1:
        logger.warning("%s has rows that are damaged, or of the same epoch; they are left out", file)
    return found


def _is_whole(row: dict[str | None, str | None]) -> bool:
    epoch = row.get("epoch")
    return None not in row and None not in row.values() and epoch is not None and epoch.isdigit()
