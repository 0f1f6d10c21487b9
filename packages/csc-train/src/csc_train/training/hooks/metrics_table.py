"""``metrics.csv``: a row for each epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from csc_data.storage.atomic import replace_text
from csc_train.logs.run_files import METRICS, Row, read_rows
from csc_train.training.hooks.logs_folder import batches_done, logs_folder
from csc_train.training.results import EpochRecord
from csc_train.training.run import Hook, Run


class MetricsTable(Hook):
    """Writes ``metrics.csv`` into the logs folder, whole after each epoch, so that it is never half of one.

    Its columns: ``epoch``, ``step`` (batches of all epochs so far), ``loss``, ``learning_rate``, ``seconds``,
    ``loading_seconds``, ``validation_loss``, and each metric by its name, such as ``iou`` and ``iou/mito``. A run that
    goes on replaces the rows of epochs that it does again.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def on_start(self, run: Run) -> None:
        """Take up the rows of the epochs that are done."""
        if run.speaks and run.resumed_from is not None:
            file = logs_folder(run.settings) / METRICS
            found = read_rows(file)
            self._rows = [row for epoch, row in sorted(found.items()) if epoch <= run.state.epoch]
            if self._rows:
                _write(file, self._rows)

    def on_epoch(self, run: Run, record: EpochRecord) -> None:
        """Add the row of an epoch."""
        if not run.speaks:
            return
        row: dict[str, float] = {
            "epoch": record.epoch,
            "step": batches_done(run),
            "loss": record.loss,
            "learning_rate": record.learning_rate,
            "seconds": round(record.seconds, 3),
            "loading_seconds": round(record.loading_seconds, 3),
        }
        if record.validation is not None:
            row.update({"validation_loss": record.validation.loss, **record.validation.values})
        self._rows.append({name: "" if value != value else repr(value) for name, value in row.items()})
        _write(logs_folder(run.settings) / METRICS, self._rows)


def _write(file: Path, rows: list[Row]) -> None:
    # A metric may come later than others, such as one that is computed every few epochs.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(file, stream.getvalue())
