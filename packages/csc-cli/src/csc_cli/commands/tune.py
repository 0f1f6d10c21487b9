"""``csc tune``: thresholds, sizes and steps that gain on validation crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, progress_bar, say
from csc_cli.options import class_names_option, json_option
from csc_cli.stages.experiments import PROCESSING, TRAINING, experiment_options, next_command
from csc_data.wording import format_seconds, plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_submit import TuneResult
    from csc_submit.tuning.results import TunedClass


@click.command()
@class_names_option("-c", "--classes", text="Classes [default: all of CONFIG].")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="The file to write [default: tuned.toml, in the experiment's folder with -e].",
)
@click.option("--trials", type=click.IntRange(min=1), default=250, show_default=True, help="Tries for each choice.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="When to stop [default: when all is tried].")
@click.option("--datasplit", metavar="FILE", help="The datasplit [default: datasplit.csv in the data folder].")
@click.option("-O", "--overwrite", is_flag=True, help="Replace a file that is there.")
@json_option
@experiment_options(PROCESSING, TRAINING)
def tune(experiment: str, config: Config, output: str | None, overwrite: bool, **options: Any) -> None:
    """Choose thresholds, sizes and parameters of steps on the validation crops, by the official score.

    From predictions that are there: `csc predict CONFIG -c validation` makes them. Crops are left out in turn, or
    blocks of them where fewer than four hold a class; a value that does not gain on what was left out is not taken. Of
    a process_func those keyword arguments are tried that the setting process_ranges gives values for.
    """
    import time

    import csc_submit
    from csc_data.errors import ExistingOutputError

    file = Path(output or Path(config.experiment, "tuned.toml"))
    if file.suffix != ".toml":
        raise click.UsageError(f"{file}: the file to write must end in .toml")
    if file.exists() and not overwrite:
        raise ExistingOutputError(f"{file} exists; choose another name with --output, or replace it by --overwrite")
    began = time.perf_counter()
    with progress_bar("classes") as bar:
        result = csc_submit.tune(experiment, config=config, progress=bar, **options)
    for line in result.remarks:
        say(line)
    say(table(("class", "score (%)", "held-out gain", "found"), [_row(entry) for entry in result.classes], indent="  "))
    _write(file, experiment, result)
    points = sum(entry.points for entry in result.classes)
    seconds = format_seconds(time.perf_counter() - began)
    say(f"scored {plural(points, 'combination')} of values of {plural(len(result.classes), 'class')} in {seconds}")
    changed = len(result.changed)
    say(f"wrote {file}: {changed or 'nothing'} of {plural(len(result.classes), 'class')} changed")
    say(f"next: {next_command('process', str(file))}")
    answer({"written": file, "classes": result.classes, "remarks": result.remarks, "rules": result.rules})


def _row(entry: TunedClass) -> Sequence[object]:
    score = "-" if math.isnan(entry.score) else f"{100 * entry.score:.1f}"
    found = ", ".join(f"{name} {entry.before[name]:g} -> {entry.after[name]:g}" for name in entry.changes)
    return entry.class_name, score, "-" if entry.gain is None else str(entry.gain), found or f"stays: {entry.reason}"


def _write(file: Path, experiment: str, result: TuneResult) -> None:
    from csc_cli.stages.experiment_text import experiment_text
    from csc_data.storage.atomic import replace_text
    from csc_submit.tuning.section import describe_settings

    title = [
        f"Tuned by `csc tune {Path(experiment).name}` on validation crops, by the rules {result.rules}. Gains are of "
        "crops, or blocks of them, that a value was not chosen on, with their standard error. `csc process` takes "
        'this file as it stands; in a Python file write threshold = {"mito": 0.6}.',
        *result.remarks,
    ]
    replace_text(file, experiment_text(title, describe_settings(result)))
