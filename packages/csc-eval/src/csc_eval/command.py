"""The ``csc-eval`` command; ``csc evaluate`` and ``csc batch-eval`` are the same functions.

Only click is imported here: what a call needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
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


@click.command(cls=DashedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-s",
    "--submission-path",
    "submission",
    metavar="PATH",
    help="Zip or zarr folder to score  [default: {data}/submission.zip, else .zarr]",
)
@click.option(
    "-r", "--result-file", metavar="FILE", help="Where to write result.json; result_extended.json goes beside it"
)
@click.option(
    "-t",
    "--truth-path",
    "truth",
    metavar="PATH",
    help="Zarr folder to score against  [default: {data}/ground_truth.zarr]",
)
@click.option(
    "-ic", "--instance-classes", metavar="A,B", help="Classes to score as instances  [default: the challenge's]"
)
@click.option("--data", metavar="DIR", help="The data folder  [default: your settings]")
@click.option(
    "--rules",
    multiple=True,
    metavar="NAME",
    help="leaderboard-2026-06 (default), definition-2026-06, pq; several may be given",
)
@click.option("--metrics", metavar="A,B", help="Further metrics to work out, or `all`")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes; 0: as many as fit")
@click.option("--memory", metavar="SIZE", help="What the run may take, like 8GB  [default: what is free]")
@click.option("--resume", metavar="FILE", help="Keep scores here as they come, and go on from it")
@click.option("--scheduler", metavar="ADDRESS", help="Score on this Dask cluster (csc-eval[dask])")
def evaluate(**options: Any) -> None:
    """Score a submission as the challenge's portal does.

    Prints a table per class and, with --result-file, writes the portal's result files. Exits with 1 if a label could
    not be scored.
    """
    from csc_eval.terminal import run_evaluate

    _exit_with(run_evaluate, options)


@click.command("batch-eval", cls=DashedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--csv", "csv_file", required=True, metavar="FILE", help="Columns data_path, evaluation_id")
def batch_eval(**options: Any) -> None:
    """Score every submission that a CSV names."""
    from csc_eval.terminal import run_batch

    _exit_with(run_batch, options)


def _exit_with(function: Any, options: dict[str, Any]) -> None:
    from csc_data.errors import CscError

    try:
        code = function(**options)
    except CscError as error:
        click.echo(f"Error: {error}", err=True)
        code = 1
    if code:
        sys.exit(code)


def main() -> None:
    """Run ``csc-eval``."""
    # Nothing here does linear algebra: threads that wait for it would only cost time and memory.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    evaluate()
