"""What the commands do: options in, one call, words out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_data.errors import InvalidArgumentError
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_eval.command.places import (
    check_result_file,
    configuration,
    own_classes,
    raw_of_test_crops,
    result_of,
    split_option,
    truth_paths,
)
from csc_eval.command.rendering import count_labels, render_result
from csc_eval.rules import LEADERBOARD, Rules, get_rules, rules_from_environment

if TYPE_CHECKING:
    from concurrent.futures import Executor


def run_evaluate(
    *,
    submission: str | None,
    truth: str | None,
    datasplit: str | None,
    result_file: str | None,
    report: str | None,
    data: str | None,
    scheduler: str | None,
    experiment: str | None = None,
    intervals: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    **options: Any,
) -> int:
    """Score one submission, print the table or JSON, write the files; returns the exit code."""
    from csc_eval.running.submission import score_submission, write_results

    began = time.monotonic()
    if experiment is not None and result_file is None:
        result_file = result_of(configuration(data, experiment), datasplit)
    check_result_file(result_file)
    if report is not None:
        from csc_eval.report.templating import check_report

        check_report(report)
    where = partial(configuration, data, experiment)
    with truth_paths(submission, truth, datasplit, where, options) as (submission_path, truth_path, raw_of):
        folder = Path(truth_path).parent if datasplit is None else where().root
        arguments = scoring_arguments(options, folder)
        with _executor(scheduler) as executor, _progress(quiet=quiet) as progress:
            result = score_submission(submission_path, truth_path, executor=executor, progress=progress, **arguments)
        if datasplit is not None and result.scored is not None:  # the truth that was built of it is gone in a moment
            made_of = replace(result.scored, truth="", datasplit=str(Path(datasplit).absolute()))
            result = replace(result, scored=made_of)
        written: list[Path] = []
        try:  # neither of the two is lost with the other
            if result_file is not None:
                written += write_results(result, result_file)
        finally:
            if as_json:
                click.echo(result.to_json(extended=True))
            else:
                click.echo(render_result(result, to_submit=datasplit is None, intervals=intervals))
        if report is not None:
            from csc_eval.report.page import ReportOptions, write_report

            shown = ReportOptions(raw=raw_of or raw_of_test_crops(data), table=own_classes(folder))
            written.append(write_report(result, report, submission=submission_path, truth=truth_path, options=shown))
    for path in written:
        click.echo(f"wrote {path}", err=as_json)
    seconds = time.monotonic() - began
    click.echo(f"{count_labels(result)} in {seconds:.1f} s", err=as_json)
    if result_file is None and not as_json:
        click.echo("next: --result-file FILE keeps the numbers, --report FILE.html shows what went wrong")
    return 1 if result.failures else 0


def run_report(*, result: str, page: str, submission: str | None, truth: str | None) -> int:
    """Write a page of a result that was written before; returns the exit code."""
    from csc_eval.report.page import ReportOptions, write_report
    from csc_eval.report.templating import check_report
    from csc_eval.running.result_files import open_scored, read_result

    check_report(page)
    found = read_result(result)
    with open_scored(found, submission, truth) as volumes:
        scored = found.scored
        place = None if scored is None else scored.datasplit or scored.truth
        shown = ReportOptions(raw=volumes.raw, table=own_classes(Path(place).parent) if place else None)
        written = write_report(found, page, submission=volumes.submission, truth=volumes.truth, options=shown)
    click.echo(f"wrote {written}")
    return 0


def scoring_arguments(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Turn the options that all commands share into arguments of `score_submission`; own classes are a folder's."""
    from csc_eval.running.memory import parse_size
    from csc_eval.scoring.metrics import METRICS

    metrics = split_option(options["metrics"]) or ()
    memory = options["memory"]
    limit = os.environ.get("MAX_UNCOMPRESSED_SIZE")
    workers = options["workers"]
    return {
        "rules": chosen_rules(options["rules"]),
        "instance_classes": split_option(options["instance_classes"]) or own_classes(folder),
        "metrics": METRICS if metrics == ("all",) else metrics,
        "workers": _workers_from_environment() if workers is None else workers,
        "memory": None if memory is None else parse_size(memory),
        "resume": options["resume"],
        "max_uncompressed_size": parse_size(limit) if limit else MAX_UNCOMPRESSED_SIZE,
    }


def chosen_rules(names: Sequence[str]) -> tuple[Rules, ...]:
    """Return the rules named, by default the leaderboard's, with what the organisers' variables set.

    Examples
    --------
    >>> [rules.name for rules in chosen_rules(["pq,definition-2026-06"])]
    ['pq', 'definition-2026-06']
    """
    listed = [part for name in names for part in split_option(name) or ()]
    return tuple(rules_from_environment(get_rules(name), os.environ) for name in listed or [LEADERBOARD.name])


def _workers_from_environment() -> int:
    text = os.environ.get("MAX_WORKERS", "1")
    if not text.isdigit():
        raise InvalidArgumentError(f"MAX_WORKERS={text!r} is not a number of processes")
    return int(text)


@contextmanager
def _executor(scheduler: str | None) -> Iterator[Executor | None]:
    if scheduler is None:
        yield None
        return
    from csc_data.executors.cluster import connect

    with connect(scheduler) as executor:
        yield executor


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """A line on stderr that says how far the work is, where somebody looks at it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return

    def show(done: int, total: int, name: str) -> None:
        click.echo(f"\r{done}/{total} {name:40.40s}", err=True, nl=False)

    yield show
    click.echo("\r" + " " * 60 + "\r", err=True, nl=False)
