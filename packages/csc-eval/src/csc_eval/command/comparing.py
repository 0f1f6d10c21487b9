"""Results side by side, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from csc_data.errors import InvalidArgumentError
from csc_eval.scoring.results import SubmissionScore, finite_or_none


def run_compare(*, files: Sequence[str], resamples: int, seed: int, report: str | None, as_json: bool) -> int:
    """Compare result files and print what is sure; returns the exit code."""
    from csc_eval.comparing.comparison import compare_results
    from csc_eval.comparing.words import describe_comparison

    if report is not None:
        from csc_eval.report.templating import check_report

        check_report(report)
    found = compare_results(read_results(files), resamples=resamples, seed=seed)
    if as_json:
        click.echo(json.dumps(finite_or_none(found.to_dict()), indent=1))
    else:
        click.echo(describe_comparison(found))
    if report is not None:
        from csc_eval.report.comparison import write_comparison

        click.echo(f"wrote {write_comparison(found, report)}", err=as_json)
    return 0


def read_results(files: Sequence[str]) -> dict[str, SubmissionScore]:
    """Read result files, by names that tell them apart; of a short one, its extended one is read.

    Raises
    ------
    InvalidArgumentError
        If one is named twice.
    MissingDataError, UnreadableDataError
        If one is not there, or is not a result.
    """
    from csc_eval.running.result_files import read_result

    paths = [_extended(Path(file)) for file in files]
    twice = [str(path) for path in paths if paths.count(path) > 1]
    if twice:
        raise InvalidArgumentError(f"{twice[0]} is named twice")
    return {name: read_result(path) for name, path in zip(short_names(paths), paths, strict=True)}


def _extended(path: Path) -> Path:
    other = path.with_name(f"{path.stem}_extended{path.suffix}")
    return (other if other.is_file() else path).absolute()


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that differ, without what all results are called.

    >>> short_names([Path("/a/one/result_extended.json"), Path("/a/two/result_extended.json")])
    ['one', 'two']
    >>> short_names([Path("/a/ours_extended.json"), Path("/a/theirs.json")])
    ['ours', 'theirs']
    """
    parts = [(*path.parts[:-1], path.stem.removesuffix("_extended")) for path in paths]
    if len({each[-1] for each in parts}) == 1 and len({path.parent for path in paths}) == len(paths):
        parts = [each[:-1] for each in parts]
    depth = 1
    while len({each[-depth:] for each in parts}) < len(parts):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]
