"""What a run writes beside TensorBoard's files: ``run.json`` and ``metrics.csv``."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def as_numbers(row: Mapping[str, str]) -> dict[str, float]:
    """Return a row of a table as numbers; what is not one is NaN.

    >>> as_numbers({"epoch": "3", "iou": ""})
    {'epoch': 3.0, 'iou': nan}
    """
    numbers = {}
    for name, text in row.items():
        try:
            numbers[name] = float(text) if text else math.nan
        except ValueError:
            numbers[name] = math.nan
    return numbers


def best_row(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """Return the row of the best epoch, by the metric that decides; None without any.

    Parameters
    ----------
    settings : mapping
        What a run was trained with, as far as it is known.
    epochs : sequence of mapping
        The rows of its metrics.

    Examples
    --------
    >>> best_row({"best_metric": "loss"}, [{"epoch": 1, "validation_loss": 0.5}, {"epoch": 2, "validation_loss": 0.7}])
    {'epoch': 1, 'validation_loss': 0.5}
    """
    column, lower = deciding_column(settings)
    scored = [row for row in epochs if not math.isnan(row.get(column, math.nan))]
    if not scored:
        return None
    return (min if lower else max)(scored, key=lambda row: row[column])


def deciding_column(settings: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the column that tells which epoch is best, and whether the lowest value is.

    >>> deciding_column({}), deciding_column({"best_metric": "loss"})
    (('iou', False), ('validation_loss', True))
    """
    metric = str(settings.get("best_metric") or "iou")
    lower = settings.get("low_is_best")
    return {"loss": "validation_loss"}.get(metric, metric), (
        metric.partition("/")[0] == "loss" if lower is None else bool(lower)
    )
