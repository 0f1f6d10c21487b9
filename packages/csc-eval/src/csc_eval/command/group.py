"""``csc-eval``: scoring, and what belongs to it.

Only click is imported here: what a call needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import gc
import os
from typing import Any

import click

from csc_eval._version import VERSION
from csc_eval.command.options import (
    CONTEXT,
    DashedCommand,
    batch_eval,
    call,
    evaluate,
    ranking_options,
    scoring_options,
)


class ScoringGroup(click.Group):
    """A group that scores where no command is named, as the official tool does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``score`` before options that are not the group's own."""
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if not args or (args[0] not in self.commands and args[0] not in own):
            args = ["score", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of scoring, and the other commands."""
        score = self.commands["score"]
        with click.Context(score, info_name=ctx.info_name) as inner:
            score.format_help(inner, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=ScoringGroup, context_settings=CONTEXT)
@click.version_option(VERSION, prog_name="csc-eval")
def csc_eval() -> None:
    """Score a submission, and what belongs to it."""


@click.command(cls=DashedCommand, context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="RESULT RESULT ...")
@click.option("--resamples", type=click.IntRange(100), default=2000, show_default=True, help="How often to draw crops")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the drawing")
@click.option("--report", metavar="HTML", help="Write a page with it (csc-eval[report])")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON")
def compare(**options: Any) -> None:
    """Tell which result is better, and how sure that is.

    RESULTs are files that --result-file wrote, of the same truth and rules. Crops are drawn with replacement, the same
    ones of all: what is told apart would most likely be so with other crops, too.
    """
    from csc_eval.command.comparing import run_compare

    call(run_compare, options)


@click.command(cls=DashedCommand, context_settings=CONTEXT)
@click.argument("result", metavar="RESULT_EXTENDED")
@click.argument("page", metavar="HTML")
@click.option("-s", "--submission-path", "submission", metavar="PATH", help="What was scored  [where RESULT says]")
@click.option("-t", "--truth-path", "truth", metavar="PATH", help="Truth  [where RESULT says]")
def report(**options: Any) -> None:
    """Write a page that shows what went wrong, of a result that was written before (csc-eval[report])."""
    from csc_eval.command.terminal import run_report

    call(run_report, options)


@click.command(cls=DashedCommand, context_settings=CONTEXT)
@click.argument("submission", metavar="PATH")
@click.option("--labels/--no-labels", default=False, help="Also list every label")
@click.option("-c", "--crops", metavar="A,B", help="Test crops to look at  [all]")
@click.option("--data", metavar="DIR", help="The data folder  [your configuration]")
def validate(**options: Any) -> None:
    """Tell whether the portal takes a submission, a zip or a folder, and what it does with each label."""
    from csc_eval.command.validating import run_validate

    call(run_validate, options)


@click.command(cls=DashedCommand, context_settings=CONTEXT)
@click.argument("folder", metavar="DIR")
@scoring_options
@click.option("-n", "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes")
@click.option("--every", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds between two looks")
@ranking_options
def watch(**options: Any) -> None:
    """Score what lands in a folder: each zip and *.zarr once, when it is whole.

    Writes eval_{name}.results beside each, or eval_{name}.failed with the reason, and the ranking after each. A watch
    that starts anew does nothing twice; what failed is tried again once its .failed is removed, or it has changed.
    """
    from csc_eval.command.batch import run_watch

    call(run_watch, options)


for _name, _command in (
    ("score", evaluate),
    ("batch", batch_eval),
    ("compare", compare),
    ("report", report),
    ("validate", validate),
    ("watch", watch),
):
    csc_eval.add_command(_command, _name)


def main() -> None:
    """Run ``csc-eval``."""
    # Nothing here does linear algebra: threads that wait for it would only cost time and memory.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # Imports make many objects and no garbage; looking through them takes a tenth of a small crop's time.
    gc.set_threshold(50_000)
    csc_eval(prog_name="csc-eval")
