"""``csc report``: a page that shows a run, or compares several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cli.console import say
from csc_cli.stages.experiments import experiment_option

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path())
@click.option(
    "-o",
    "--output",
    metavar="HTML",
    help="The page to write [default: report.html, in the experiment's folder with -e].",
)
@click.option(
    "--result",
    "results",
    multiple=True,
    metavar="JSON",
    help="A result_extended.json of the run, several times for several [default: those near its logs].",
)
@click.option(
    "-s", "--submission", metavar="PATH", help="What was scored, if it was moved [default: as the result says]."
)
@click.option("-t", "--truth", metavar="PATH", help="What it was scored against, if it was moved.")
@experiment_option
def report(
    runs: tuple[str, ...], config: Config, output: str | None, results: tuple[str, ...], **moved: str | None
) -> None:
    """Write one self-contained page about the run RUN, or one that compares several class by class.

    RUN is the folder of its logs (tensorboard/NAME), the folder of its experiment, the experiment file, or a
    checkpoint. The page says what it was trained on, and shows curves, scores with intervals, the worst and the best
    labels in pictures, time, memory, settings and versions. What is not there is said.
    """
    from csc_data.wording import format_bytes
    from csc_eval.command.places import own_classes, raw_of_test_crops
    from csc_train.report import RunReportOptions, write_run_report

    if not runs and not config.experiment:
        raise click.UsageError("Missing argument 'RUN...', or an experiment with its folder (-e)")
    runs = runs or (config.experiment,)
    if len(runs) > 1 and (results or any(moved.values())):
        raise click.UsageError("--result, --submission and --truth are of one run; several are compared without")
    options = RunReportOptions(
        results=results,
        submission=moved["submission"],
        truth=moved["truth"],
        raw=raw_of_test_crops(str(config.root)),
        table=own_classes(config.root),
    )
    page, found = write_run_report(runs, output or Path(config.experiment, "report.html"), options)
    for run in found:
        for line in run.missing:
            say(f"{run.name}: {line}" if len(found) > 1 else line)
    say(f"wrote {page} ({format_bytes(page.stat().st_size)})")
