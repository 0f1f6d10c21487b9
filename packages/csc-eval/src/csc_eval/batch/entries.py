"""What a batch is of, and what became of it."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from csc_data.errors import InvalidArgumentError, MissingDataError
from csc_eval.scoring.results import SubmissionScore

COLUMNS = ("data_path", "evaluation_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """One submission of a batch: where it lies, its id, and where its results go."""

    data_path: Path
    evaluation_id: str

    @property
    def result_file(self) -> Path:
        """``eval_{evaluation_id}.results`` beside the submission, as the organisers' tool names it."""
        return self.data_path.parent / f"eval_{self.evaluation_id}.results"

    @property
    def extended_file(self) -> Path:
        """What `csc_eval.read_result` reads."""
        return self.result_file.with_name(f"{self.result_file.stem}_extended{self.result_file.suffix}")

    @property
    def scores_file(self) -> Path:
        """Scores of labels as they come, by which a run that was killed goes on."""
        return self.result_file.with_suffix(".scores")

    @property
    def failure_file(self) -> Path:
        """Why there is no result."""
        return self.result_file.with_suffix(".failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What became of one submission: its result, or why there is none, or what of it could not be scored."""

    entry: BatchEntry
    result: SubmissionScore | None
    problem: str = ""


def scored_outcome(entry: BatchEntry, result: SubmissionScore) -> BatchOutcome:
    """Return what became of a submission that has a result: its problem names the labels that have no score."""
    problem = "; ".join(f"{crop}/{name}: {text}" for (crop, name), text in result.failures.items())
    return BatchOutcome(entry=entry, result=result, problem=problem)


def read_batch(path: str | os.PathLike[str]) -> list[BatchEntry]:
    r"""Read a CSV with the columns data_path and evaluation_id; relative paths start from the CSV's folder.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidArgumentError
        If a column or a value is missing, or an id comes twice.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "all.csv").write_text("data_path,evaluation_id\nmine.zip,42\n")
    ...     [(entry.data_path.name, entry.evaluation_id) for entry in read_batch(Path(folder, "all.csv"))]
    [('mine.zip', '42')]
    """
    file = Path(path).absolute()  # whoever scores them may work in another folder
    if not file.is_file():
        raise MissingDataError(f"there is no CSV {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            names = reader.fieldnames or ()
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file} is not a CSV: {error}") from error
    lacking = [column for column in COLUMNS if column not in names]
    if lacking:
        raise InvalidArgumentError(f"{file} lacks the column {' and '.join(lacking)}; expected {', '.join(COLUMNS)}")
    entries = []
    for number, row in enumerate(rows, start=2):
        data_path, evaluation_id = ((row[column] or "").strip() for column in COLUMNS)
        if not data_path or not evaluation_id or "/" in evaluation_id or "\\" in evaluation_id:
            raise InvalidArgumentError(
                f"{file}, line {number}: data_path is {data_path!r}, evaluation_id {evaluation_id!r}"
            )
        entries.append(BatchEntry(data_path=file.parent / data_path, evaluation_id=evaluation_id))
    if len({entry.evaluation_id for entry in entries}) < len(entries):
        raise InvalidArgumentError(f"{file} gives one evaluation_id to two submissions")
    return entries
