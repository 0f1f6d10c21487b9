"""Many submissions at once, on a terminal: those of a CSV, or those that land in a folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import click

from csc_data.wording import table
from csc_eval.batch.entries import BatchOutcome, read_batch
from csc_eval.batch.ranking import HEADER, rank, ranking_rows, write_csv, write_json
from csc_eval.batch.scoring import BatchScoring, score_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where a ranking is written, beside the terminal."""

    table: str | None
    json: str | None
    report: str | None

    def check(self) -> None:
        """Raise an error before any work, if the page cannot be made."""
        if self.report is not None:
            from csc_eval.report.templating import check_report

            check_report(self.report)

    def write(self, outcomes: list[BatchOutcome]) -> None:
        """Print and write the ranking."""
        ranking = rank(outcomes)
        click.echo(table([*HEADER, "what is wrong"], ranking_rows(ranking)))
        written = []
        if self.table is not None:
            written.append(write_csv(ranking, self.table))
        if self.json is not None:
            written.append(write_json(ranking, self.json))
        if self.report is not None:
            from csc_eval.command.batch_page import write_batch_page

            written.append(write_batch_page(ranking, self.report))
        for path in written:
            click.echo(f"wrote {path}")


@contextmanager
def _executor(workers: int, cluster: Any, options: dict[str, Any]) -> Iterator[Executor]:
    if cluster is None:
        from csc_data.executors.processes import ProcessWorkers

        with ProcessWorkers(workers, threads=1) as pool:
            yield pool
        return
    from csc_data.executors.cluster import start_jobs

    with start_jobs(cluster, jobs=workers, options=options) as executor:
        yield executor


def _job_options(cluster: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of jobs out of those of the command, and return them in the words of dask-jobqueue."""
    names = {
        "job_memory": "memory",
        "queue": "queue",
        "account": "project" if cluster == "lsf" else "account",
        "walltime": "walltime",
        "log_folder": "log_directory",
    }
    return {"cores": 1, **{word: options.pop(name) for name, word in names.items()}}


def run_batch(
    *,
    csv_file: str,
    truth: str | None,
    data: str | None,
    workers: int,
    cluster: str | None,
    resume: bool,
    **options: Any,
) -> int:
    """Score the submissions of a CSV and print their ranking; returns the exit code."""
    from csc_eval.command.places import configuration, resolve_paths
    from csc_eval.command.terminal import scoring_arguments
    from csc_eval.running.memory import parse_size

    outputs = Outputs(table=options.pop("table"), json=options.pop("json_file"), report=options.pop("report"))
    outputs.check()
    jobs = _job_options(cluster, options)
    entries = read_batch(csv_file)
    truth_path = _open_truth(resolve_paths("", truth, partial(configuration, data))[1])
    arguments = scoring_arguments({**options, "workers": 1, "resume": None}, truth_path.parent)
    # Dask ends a worker that comes near to what its job was given.
    granted = int(parse_size(jobs["memory"]) * 0.9) if cluster else _share(arguments["memory"], workers)
    arguments["memory"] = granted
    with _executor(workers, cluster, jobs) as executor:
        how = BatchScoring(truth=truth_path, arguments=arguments, resume=resume)
        said = count(1)
        outcomes = score_batch(
            entries, how, executor=executor, report=lambda outcome: _say(outcome, f" ({next(said)} of {len(entries)})")
        )
    outputs.write(outcomes)
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} of {len(outcomes)} scored without a problem")
    return 1 if failed else 0


def run_watch(*, folder: str, truth: str | None, data: str | None, workers: int, every: float, **options: Any) -> int:
    """Score what lands in a folder until a signal; returns the exit code."""
    from csc_data.executors.processes import ProcessWorkers
    from csc_eval.batch.watching import Watch, keep_watching
    from csc_eval.command.places import configuration, resolve_paths
    from csc_eval.command.terminal import scoring_arguments

    outputs = Outputs(table=options.pop("table"), json=options.pop("json_file"), report=options.pop("report"))
    outputs.check()
    watch = Watch(folder, every)
    truth_path = _open_truth(resolve_paths("", truth, partial(configuration, data))[1])
    arguments = scoring_arguments({**options, "workers": 1, "resume": None}, truth_path.parent)
    arguments["memory"] = _share(arguments["memory"], workers)

    def report(outcomes: list[BatchOutcome]) -> None:
        for outcome in outcomes:
            _say(outcome)
        outputs.write(list(watch.outcomes()))

    stop = threading.Event()
    click.echo(f"watching {Path(folder).absolute()}: Ctrl-C ends it once what is being scored is done", err=True)
    with _ended_by_signals(stop):
        keep_watching(
            watch,
            BatchScoring(truth=truth_path, arguments=arguments, resume=True),
            partial(ProcessWorkers, workers, threads=1),
            stop=stop,
            report=report,
        )
    return 0


def _open_truth(path: Path) -> Path:
    """Return where a truth lies; one that is not there would otherwise be the problem of each submission."""
    from csc_data.errors import InvalidArgumentError
    from csc_data.storage.stores.submissions import open_store

    if not open_store(path).folders(""):
        raise InvalidArgumentError(f"the truth {path} holds no crops; expected folders like crop557")
    return path.absolute()


def _share(memory: int | None, workers: int) -> int:
    from csc_eval.running.memory import available_memory

    return (memory or int(available_memory() * 0.9)) // workers


def _say(outcome: BatchOutcome, how_far: str = "") -> None:
    score = "failed" if outcome.result is None else f"{outcome.result.overall_score:.4f}"
    click.echo(f"{outcome.entry.evaluation_id}: {score}{how_far}", err=True)


@contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and the first Ctrl-C ask for an end, and a second Ctrl-C end it at once."""

    def end(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
