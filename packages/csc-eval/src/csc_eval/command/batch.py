"""Many submissions at once, from a CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from csc_data.errors import CscError, InvalidArgumentError, MissingDataError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What became of one submission: its overall score, or why there is none."""

    entry: BatchEntry
    overall_score: float | None
    problem: str


def read_batch(path: str | os.PathLike[str]) -> list[BatchEntry]:
    """Read a CSV with the columns data_path and evaluation_id; relative paths start from the CSV's folder.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidArgumentError
        If a column or a value is missing, or an id comes twice.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no CSV {file}")
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if lacking:
            raise InvalidArgumentError(
                f"{file} lacks the column {' and '.join(lacking)}; expected {', '.join(COLUMNS)}"
            )
        rows = list(reader)
    entries = []
    for number, row in enumerate(rows, start=2):
        data_path, evaluation_id = ((row[column] or "").strip() for column in COLUMNS)
        if not data_path or not evaluation_id or "/" in evaluation_id or "\\" in evaluation_id:
            raise InvalidArgumentError(
                f"{file}, line {number}: data_path is {data_path!r}, evaluation_id {evaluation_id!r}"
            )
        entries.append(BatchEntry(data_path=file.parent / data_path, evaluation_id=evaluation_id))
    if len({entry.result_file for entry in entries}) < len(entries):
        raise InvalidArgumentError(f"{file} gives one evaluation_id to two submissions of a folder")
    return entries


def score_entry(entry: BatchEntry, truth: Path, arguments: dict[str, Any]) -> BatchOutcome:
    """Score one submission and write its result files; an error becomes the outcome's problem."""
    from csc_eval.running.submission import score_submission, write_results

    try:
        result = score_submission(entry.data_path, truth, **arguments)
        write_results(result, entry.result_file)
    except (CscError, OSError) as error:
        return BatchOutcome(entry=entry, overall_score=None, problem=str(error))
    problem = "; ".join(f"{crop}/{name}: {text}" for (crop, name), text in result.failures.items())
    return BatchOutcome(entry=entry, overall_score=result.overall_score, problem=problem)


def score_batch(
    entries: list[BatchEntry],
    truth: str | os.PathLike[str],
    *,
    executor: Executor,
    arguments: dict[str, Any] | None = None,
    report: Callable[[BatchOutcome], None] | None = None,
) -> list[BatchOutcome]:
    """Score submissions on an executor, one task each; returns their outcomes in the order given."""
    from csc_data.executors.processes import WorkerDiedError

    futures = {executor.submit(score_entry, entry, Path(truth), arguments or {}): entry for entry in entries}
    outcomes = {}
    for future in as_completed(futures):
        try:
            outcome = future.result()
        except WorkerDiedError as error:
            outcome = BatchOutcome(entry=futures[future], overall_score=None, problem=str(error))
        outcomes[futures[future]] = outcome
        if report is not None:
            report(outcome)
    return [outcomes[entry] for entry in entries]


@contextmanager
def _executor(workers: int, cluster: Any, job_memory: str, queue: str | None) -> Iterator[Executor]:
    if cluster is None:
        from csc_data.executors.processes import ProcessWorkers

        with ProcessWorkers(workers, threads=1) as pool:
            yield pool
        return
    from csc_data.executors.cluster import start_jobs

    with start_jobs(cluster, jobs=workers, options={"cores": 1, "memory": job_memory, "queue": queue}) as executor:
        yield executor


def run_batch(
    *,
    csv_file: str,
    truth: str | None,
    data: str | None,
    workers: int,
    cluster: str | None,
    job_memory: str,
    queue: str | None,
    **options: Any,
) -> int:
    """Score the submissions of a CSV and print a table; returns the exit code."""
    from csc_eval.command.terminal import render_rows, resolve_paths, scoring_arguments
    from csc_eval.running.memory import available_memory, parse_size

    entries = read_batch(csv_file)
    _, truth_path = resolve_paths("", truth, data)
    arguments = scoring_arguments({**options, "workers": 1, "resume": None})
    whole = arguments["memory"] or int(available_memory() * 0.9)
    arguments["memory"] = parse_size(job_memory) if cluster else whole // workers

    def say(outcome: BatchOutcome) -> None:
        score = "failed" if outcome.overall_score is None else f"{outcome.overall_score:.4f}"
        click.echo(f"{outcome.entry.evaluation_id}: {score}", err=True)

    with _executor(workers, cluster, job_memory, queue) as executor:
        outcomes = score_batch(entries, truth_path, executor=executor, arguments=arguments, report=say)
    rows = [
        [
            o.entry.evaluation_id,
            "-" if o.overall_score is None else f"{o.overall_score:.4f}",
            o.problem or str(o.entry.result_file),
        ]
        for o in outcomes
    ]
    click.echo(render_rows(["evaluation", "overall", "results, or what is wrong"], rows))
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} of {len(outcomes)} scored without a problem")
    return 1 if failed else 0
