"""The ``csc-eval`` command; ``csc evaluate`` and ``csc batch-eval`` are the same functions.

Only click is imported here: what a call needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click


class DashedCommand(click.Command):
    """A command whose long options may be written with underscores, as the official tool has them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn underscores of long options into dashes."""
        return super().parse_args(ctx, [_dashed(argument) for argument in args])


def _dashed(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def _check_rules(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse rules that do not exist as wrong use."""
    from csc_data.errors import CscError
    from csc_eval.rules import get_rules

    for name in ",".join(value).split(","):
        try:
            _ = get_rules(name.strip()) if name.strip() else None
        except CscError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


def _check_metrics(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse metrics that do not exist as wrong use."""
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    if names and names != ["all"]:
        from csc_data.errors import CscError
        from csc_eval.scoring.metrics import parse_metrics  # which takes a moment, as does completion

        try:
            parse_metrics(names, instance=True)
        except CscError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


def _completing(names: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes the last of names that are separated by commas."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]

    return complete


def _rule_names() -> Iterable[str]:
    from csc_eval.rules import RULE_SETS

    return RULE_SETS


def _class_names() -> Iterable[str]:
    from csc_data.challenge import get_tested_classes

    return get_tested_classes()


CONTEXT = {"help_option_names": ["-h", "--help"]}

_SCORING_OPTIONS = (
    click.option("-t", "--truth-path", "truth", metavar="PATH", help="Truth  [{data}/ground_truth.zarr]"),
    click.option(
        "-ic",
        "--instance-classes",
        metavar="A,B",
        shell_complete=_completing(_class_names),
        help="Classes to score as instances  [the challenge's]",
    ),
    click.option("--data", metavar="DIR", help="The data folder  [your configuration]"),
    click.option(
        "--rules",
        multiple=True,
        callback=_check_rules,
        shell_complete=_completing(_rule_names),
        metavar="NAME",
        help="leaderboard-2026-06, definition-2026-06, pq",
    ),
    click.option(
        "--metrics", callback=_check_metrics, metavar="A,B", help="Further metrics, like ap,vi_split, or `all`"
    ),
    click.option("--memory", metavar="SIZE", help="What the run may take, like 8GB  [what is free]"),
)  # fmt: skip


def scoring_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what all scoring takes."""
    for option in reversed(_SCORING_OPTIONS):
        function = option(function)
    return function


def ranking_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add where a ranking is written."""
    for option in (
        click.option("--report", metavar="HTML", help="Write the ranking as a page (csc-eval[report])"),
        click.option("--json", "json_file", metavar="FILE", help="Write it as JSON, with all differences"),
        click.option("--table", metavar="CSV", help="Write it as a CSV"),
    ):
        function = option(function)
    return function


@click.command(cls=DashedCommand, context_settings=CONTEXT)
@click.option(
    "-s",
    "--submission-path",
    "submission",
    metavar="PATH",
    help="Zip or zarr folder to score  [{data}/submission.zip, else .zarr]",
)
@click.option("-r", "--result-file", metavar="FILE", help="Write result.json here, and result_extended.json beside it")
@click.option("-e", "--experiment", metavar="NAME", help="Score what an experiment made, and keep it in its results")
@scoring_options
@click.option(
    "--datasplit", metavar="CSV", help="Score against the annotations of its validation crops instead of a truth"
)
@click.option("--report", metavar="HTML", help="Write a page that shows what went wrong (csc-eval[report])")
@click.option("--intervals", is_flag=True, help="Say how far scores would be scattered with other crops")
@click.option("--workers", type=click.IntRange(0), help="Processes; 0: as many as fit  [MAX_WORKERS, else 1]")
@click.option("--resume", metavar="FILE", help="Keep scores here as they come, and go on from them")
@click.option("--scheduler", metavar="ADDRESS", help="Score on this Dask cluster (csc-eval[dask])")
@click.option("--json", "as_json", is_flag=True, help="Print result_extended.json instead of the table")
def evaluate(**options: Any) -> None:
    """Score a submission as the challenge's portal does.

    Prints a table per class, and writes the portal's result files with --result-file. Exits with 1 if a label could
    not be scored.
    """
    from csc_eval.command.terminal import run_evaluate

    call(run_evaluate, options)


@click.command("batch-eval", cls=DashedCommand, context_settings=CONTEXT)
@click.option(
    "-c",
    "--csv",
    "--csv-path",
    "csv_file",
    required=True,
    metavar="FILE",
    help="CSV with the columns data_path and evaluation_id",
)
@scoring_options
@click.option(
    "-n", "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, or jobs of a cluster"
)
@click.option(
    "-C",
    "--cluster",
    is_flag=False,
    flag_value="lsf",
    type=click.Choice(["lsf", "slurm"]),
    help="Score on a batch system (csc-eval[dask])",
)
@click.option(
    "--job-memory", default="16GB", show_default=True, metavar="SIZE", help="Memory of one job of the cluster"
)
@click.option("--queue", metavar="NAME", help="The cluster's queue or partition")
@click.option("--account", metavar="NAME", help="The account that pays, or LSF's project")
@click.option("--walltime", metavar="TIME", help="How long a job may take, like 02:00:00, or 02:00 for LSF")
@click.option("--log-folder", metavar="DIR", help="Where jobs write what they print")
@click.option("--resume", is_flag=True, help="Keep scores of labels beside the results, and go on from them")
@ranking_options
def batch_eval(**options: Any) -> None:
    """Score every submission that a CSV names, and rank them.

    Writes eval_{evaluation_id}.results beside each. One that cannot be scored is named, and the others are scored all
    the same.
    """
    from csc_eval.command.batch import run_batch

    call(run_batch, options)


def call(function: Callable[..., int], options: dict[str, Any]) -> None:
    """Call, and turn an error that a user can cause into one line and exit code 1."""
    from csc_data.errors import CscError

    try:
        code = function(**options)
    except CscError as error:
        click.echo(f"Error: {error}", err=True)
        code = 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # What is printed goes to a full disk. It stays in the stream's buffer, and would fail once more at the end.
        click.echo(f"Error: what is printed cannot be written: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    if code:
        sys.exit(code)
